"""Heartbeats of workers and beat."""
