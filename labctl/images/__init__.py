"""The images that nodes start from, and the keys that say when one must be made anew."""
