"""The state of a lab, from the answers of its nodes."""
