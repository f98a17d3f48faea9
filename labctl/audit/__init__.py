"""Finds the settings of a Celery application that lose or stall tasks. No task runs."""
