"""What a worker knows about the way of a message: when it came, and when it was acknowledged.

Both happen in the worker's main process, which has no connection to the database for tasks. So the time of
receipt travels with the task to the pool process, and acknowledgements wait for the next heartbeat.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from celery.worker.request import Request

RECEIVED = "mosaic_received"
# The broker's interceptors set these headers (role rabbitmq).
QUEUED = "timestamp_in_ms"
BROKER = "x-routed-by"
# A worker without a database keeps the newest ones.
_acknowledged: deque[tuple[str, float]] = deque(maxlen=5000)


class FollowedRequest(Request):
    """Celery's request, which also notes both times, by this host's clock."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Note when the message was received."""
        super().__init__(*args, **kwargs)
        self.request_dict[RECEIVED] = time.time()

    def acknowledge(self) -> None:
        """Acknowledge the message, and note when."""
        before = self.acknowledged
        super().acknowledge()
        if self.acknowledged and not before:
            _acknowledged.append((str(self.id), time.time()))


def message_of(request: Any) -> dict[str, Any] | None:
    """Return when the message of a task (celery.app.task.Context) was queued and received; None: unknown.

    `queued` is in milliseconds and `received` in seconds since 1970; `broker` is the node that queued it.
    """
    found = {
        "queued": request.get(QUEUED),
        "broker": request.get(BROKER),
        "received": request.get(RECEIVED),
    }
    return {name: value for name, value in found.items() if isinstance(value, int | float | str)} or None


def take_acknowledged() -> dict[str, float]:
    """Return the tasks that were acknowledged since the last call, each with its time."""
    return dict(_acknowledged.popleft() for _ in range(len(_acknowledged)))
