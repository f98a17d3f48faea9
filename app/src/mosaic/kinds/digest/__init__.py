"""Digesting: the words of a text, counted."""
