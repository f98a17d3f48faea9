"""What the application measures of itself, for Prometheus."""
