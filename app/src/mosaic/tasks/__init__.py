"""Celery tasks: what runs on the workers."""
