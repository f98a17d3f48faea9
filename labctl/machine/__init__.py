"""This machine: what a lab needs of it, and how it gets it."""
