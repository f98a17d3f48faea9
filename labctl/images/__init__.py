"""The images that nodes start from, and their keys, which show when one must be built again."""
