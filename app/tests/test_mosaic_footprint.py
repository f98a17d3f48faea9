"""Memory that pool processes share with their worker."""

from __future__ import annotations

import gc

from celery import signals
from mosaic import celery


def test_a_worker_freezes_its_objects_before_it_forks() -> None:
    assert celery._share_memory in signals.worker_init._live_receivers(None)
    before = gc.get_freeze_count()
    try:
        signals.worker_init.send(sender=None)
        assert gc.get_freeze_count() > before + 10_000
    finally:
        gc.unfreeze()
