"""The Celery instance, which takes its settings from Django's."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "visits.settings")

app = Celery("visits")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
