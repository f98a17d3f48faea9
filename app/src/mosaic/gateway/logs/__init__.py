"""Log records: stored ones, and new ones as they come."""
