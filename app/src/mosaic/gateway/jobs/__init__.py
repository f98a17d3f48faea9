"""Jobs: submitted, listed, followed, cancelled, and their pictures."""
