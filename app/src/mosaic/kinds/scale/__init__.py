"""Scaling: an uploaded picture in several sizes, and a contact sheet of them."""
