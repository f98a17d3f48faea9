"""Charts and alerts of the monitor."""
