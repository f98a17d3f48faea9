"""Tasks that write and delete rows. They are for any Celery instance: this module does not import one."""

from __future__ import annotations

import socket
from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from .models import Visit


@shared_task
def visit(name: str) -> int:
    """Write a row, and return its number."""
    return Visit.objects.create(name=name, host=socket.gethostname()).pk


@shared_task
def forget(days: int = 30) -> int:
    """Delete old rows, and return their number."""
    old = Visit.objects.filter(at__lt=timezone.now() - timedelta(days=days))
    return old.delete()[0]
