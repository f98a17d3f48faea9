"""Celery's remote control with a queue of its own for each connection of a worker.

Celery names the queue after the worker and makes it exclusive. While the worker's last connection hangs on a
broker that is frozen, the queue is locked, and every new connection of the worker fails at it (405
RESOURCE_LOCKED, measured: up to 3 s without a task). A durable queue is no way out: its leader is the frozen
broker (5 s). Commands reach a worker by an exchange and the name in the message: the queue may have any name.
"""

from __future__ import annotations

import uuid
from typing import Any

from celery.app.control import Control as CeleryControl
from kombu.pidbox import Mailbox as KombuMailbox


class Mailbox(KombuMailbox):
    """Makes a queue that no other connection has."""

    def get_queue(self, hostname: str) -> Any:
        """Return the queue of the worker `hostname`, exclusive to who declares it."""
        return super().get_queue(f"{hostname}.{uuid.uuid4().hex[:12]}")


class Control(CeleryControl):
    """What `celery inspect` and `celery control` use, and workers listen to."""

    Mailbox = Mailbox
