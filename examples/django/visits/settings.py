"""Settings of Django and of Celery; the addresses of the database and the broker are in the environment."""

from __future__ import annotations

import os
from urllib.parse import parse_qsl, unquote, urlsplit

from celery.schedules import crontab

INSTALLED_APPS = ["visits"]
TIME_ZONE = "Europe/Madrid"
USE_TZ = True

_database = urlsplit(os.environ.get("DATABASE_URL", "postgresql://visits@localhost/visits"))
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": _database.hostname,
        "PORT": _database.port or 5432,
        "NAME": _database.path.removeprefix("/"),
        "USER": unquote(_database.username or ""),
        "PASSWORD": unquote(_database.password or ""),
        "OPTIONS": dict(parse_qsl(_database.query)),  # sslmode and sslrootcert
    }
}

# CELERY_BROKER_URL and CELERY_RESULT_BACKEND come from the environment, before settings of these names.
CELERY_TIMEZONE = TIME_ZONE  # of the times in crontab()
CELERY_BEAT_SCHEDULE = {
    "visit": {"task": "visits.tasks.visit", "schedule": crontab(), "args": ["beat"]},  # each minute
    "forget": {"task": "visits.tasks.forget", "schedule": crontab(hour="3", minute="30")},  # in Madrid
}
