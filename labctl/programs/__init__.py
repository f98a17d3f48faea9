"""Running other programs, here and on nodes."""
