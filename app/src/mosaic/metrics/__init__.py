"""Metrics of the application for Prometheus."""
