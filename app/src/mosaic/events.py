"""Events of workers and tasks, which Flower on the monitor reads.

An event is published without waiting for the broker's confirm: nobody counts on a single one, while a
worker's loop would stand still for each, three times a task.
"""

from __future__ import annotations

from typing import Any

from celery.app.events import Events
from celery.events.dispatcher import EventDispatcher
from kombu import Connection


class UnconfirmedDispatcher(EventDispatcher):
    """Publishes on a connection that does not ask for confirms."""

    def __init__(self, connection: Connection | None = None, *arguments: Any, **options: Any) -> None:
        """Take a connection; one that is open already stays as it is."""
        if connection is not None and not connection.connected:
            connection.transport_options = {**(connection.transport_options or {}), "confirm_publish": False}
        super().__init__(connection, *arguments, **options)


class UnconfirmedEvents(Events):
    """`app.events` with that dispatcher."""

    dispatcher_cls = "mosaic.events:UnconfirmedDispatcher"
