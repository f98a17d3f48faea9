"""How long the broker takes to confirm: measured where messages are published.

The gateway and beat are processes of their own; both write into the folder that PROMETHEUS_MULTIPROC_DIR
names, and `mosaic metrics` of the same host reads it. Without that variable the values stay in the process.
"""

from __future__ import annotations

import time
from typing import Any

from celery import signals
from prometheus_client import Counter, Histogram

# From an undisturbed confirm (some ms) to the end of every patience (36 s of retries).
BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 40.0)

confirm_seconds = Histogram(
    "mosaic_publish_confirm_seconds",
    "Seconds from sending a message to the broker's confirm of it.",
    ["publisher"],
    buckets=BUCKETS,
)
unconfirmed_total = Counter(
    "mosaic_publish_unconfirmed",
    "Messages that were sent and not confirmed, so that they were sent again or given up.",
    ["publisher"],
)

_started: dict[str, float] = {}


def measure_celery(publisher: str) -> None:
    """Measure from now on what this process publishes through Celery, which waits for each confirm."""

    def before(headers: dict[str, Any], **_: Any) -> None:
        # One message at a time; what failed left its start behind.
        unconfirmed_total.labels(publisher).inc(len(_started))
        _started.clear()
        _started[str(headers["id"])] = time.monotonic()

    def after(headers: dict[str, Any], **_: Any) -> None:
        started = _started.pop(str(headers["id"]), None)
        if started is not None:
            confirm_seconds.labels(publisher).observe(time.monotonic() - started)

    signals.before_task_publish.connect(before, weak=False)
    signals.after_task_publish.connect(after, weak=False)
