"""From a checked request to a job plan: its parts, and what they read."""
