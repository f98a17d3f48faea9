"""The one table."""

from __future__ import annotations

from django.db import models


class Visit(models.Model):
    """Who came, and when, and the worker host that wrote it down."""

    name = models.CharField(max_length=100)
    host = models.CharField(max_length=100)
    at = models.DateTimeField(auto_now_add=True)
