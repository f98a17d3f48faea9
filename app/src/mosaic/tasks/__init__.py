"""Celery tasks: they run on the workers."""
