"""Beat's schedule and its latest runs."""
