"""A project that is its own application. shared_task finds the Celery instance, because it is loaded here."""

from .celery import app as celery_app

__all__ = ["celery_app"]
