"""This machine: what a lab needs on it, and how that is installed."""
