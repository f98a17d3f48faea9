"""Queues and dead letters."""
