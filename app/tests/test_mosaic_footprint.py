"""Memory: what the processes of a host import, and what pool processes share with their worker."""

from __future__ import annotations

import gc
import subprocess
import sys

from celery import signals
from mosaic import celery

HEAVY = ("celery", "kombu", "sqlalchemy", "psycopg", "numpy", "PIL", "fastapi", "prometheus_client")


def test_publishing_log_records_needs_neither_celery_nor_the_database() -> None:
    program = f"import sys, mosaic.cli, mosaic.logs.ship; print({{*{HEAVY}}} & {{*sys.modules}} or 'none')"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "none"


def test_every_public_name_of_the_library_is_there_on_first_use() -> None:
    program = """
import celery_durable, sys
assert "celery" not in sys.modules
assert all(getattr(celery_durable, name) for name in celery_durable.__all__)
try:
    celery_durable.missing
except AttributeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "module 'celery_durable' has no attribute 'missing'"


def test_a_worker_freezes_its_objects_before_it_forks() -> None:
    assert celery._share_memory in signals.worker_init._live_receivers(None)
    before = gc.get_freeze_count()
    try:
        signals.worker_init.send(sender=None)
        assert gc.get_freeze_count() > before + 10_000
    finally:
        gc.unfreeze()
