"""A task that does nothing but show that a host executes tasks."""

from __future__ import annotations

from celery import shared_task

from mosaic.tasks.base import PartlessTask


@shared_task(base=PartlessTask, name="mosaic.probe")
def probe() -> None:
    """Do nothing; the attempt in the ledger is the answer."""
