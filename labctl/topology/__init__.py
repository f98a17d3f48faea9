"""The topology of a lab: its hosts, and the file that declares them."""
