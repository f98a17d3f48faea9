"""Publishing the tasks of a job with publisher confirms."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from celery import Celery

from celery_durable import ConfirmWindow
from mosaic.ledger.jobs import TaskCall
from mosaic.ledger.models import HIGH, NORMAL

PUBLISH_SECONDS = 40.0
# The priority of a message. A quorum queue has two levels: normal (0 to 4) and high (5 and more). While
# messages of both wait, it delivers two high ones for each normal one.
PRIORITIES = {NORMAL: 0, HIGH: 5}


def publish(app: Celery, calls: Sequence[TaskCall], seconds: float = PUBLISH_SECONDS) -> None:
    """Publish all calls. Raises Unconfirmed after `seconds`; some calls may be published nevertheless."""
    with ConfirmWindow(app, timeout=seconds) as window:
        for (task, priority), alike in groupby(calls, key=lambda call: (call.task, call.priority)):
            group = list(alike)
            ids = [call.task_id for call in group]
            window.send_many(task, [call.args for call in group], task_ids=ids, priority=PRIORITIES[priority])
