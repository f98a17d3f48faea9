"""The HTTP gateway: submissions, progress, pictures, logs, and the page that shows them."""
