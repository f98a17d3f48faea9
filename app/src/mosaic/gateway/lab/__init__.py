"""The lab's state: what is watched, and what follows from it."""
