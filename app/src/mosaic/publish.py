"""Publishing the tasks of a job with publisher confirms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from celery import Celery

from celery_durable import ConfirmWindow
from mosaic.ledger.jobs import TaskCall

PUBLISH_SECONDS = 40.0
URGENT = 5  # the lowest priority that quorum queues deliver first


def publish(app: Celery, calls: Sequence[TaskCall], seconds: float = PUBLISH_SECONDS) -> None:
    """Publish all calls. Raises Unconfirmed after `seconds`; some calls may be published nevertheless."""
    with ConfirmWindow(app, timeout=seconds) as window:
        for call in calls:
            options: dict[str, Any] = {"args": call.args, "task_id": call.task_id, "producer": window}
            if call.urgent:
                options["priority"] = URGENT
            app.send_task(call.task, **options)
