"""The HTTP gateway: the API and the pages of the console."""
