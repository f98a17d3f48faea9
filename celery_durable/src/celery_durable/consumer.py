"""The worker's consumer: delayed delivery is declared when a worker starts, not at each reconnect."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from amqp.exceptions import PreconditionFailed, RecoverableConnectionError
from celery.worker.consumer import Consumer
from celery.worker.consumer.delayed_delivery import DelayedDelivery

from celery_durable.amqp import refused

# A broker that forgot all it knew is not back sooner, and then everything is to be declared again.
REMEMBERED_SECONDS = 60.0


class DelayedDeliveryOnce(DelayedDelivery):
    """Celery's step, which declares 28 queues, left out after a connection was lost for a moment only.

    The broker asks the leader of each of them how long it is. After a broker froze, those that led none but
    idle queues have no successor until the node counts as down: the worker, which took tasks again already,
    stood still in this step for 5 s (read_timeout, a pause of 1 s, read_timeout again).
    """

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._declared = self._connected = False
        self._lost = 0.0

    def start(self, c: Any) -> None:
        self._connected = True
        if not self._declared or time.monotonic() - self._lost > REMEMBERED_SECONDS:
            super().start(c)

    def stop(self, c: Any) -> None:
        super().stop(c)  # type: ignore[misc] # not in celery-types
        if self._connected:  # attempts to reconnect end here too
            self._lost = time.monotonic()
        self._connected = False

    def _setup_delayed_delivery(self, c: Any, broker_url: str) -> None:
        try:
            super()._setup_delayed_delivery(c, broker_url)  # type: ignore[misc] # not in celery-types
        except PreconditionFailed as error:
            raise refused(error) from error
        self._declared = True


class DurableConsumer(Consumer):
    """Celery's consumer with that step. The setting `worker_consumer` names it."""

    # celery-types leaves these out.
    hub: Any
    task_consumer: Any

    def __init__(self, *args: Any, **options: Any) -> None:
        if not options["app"].conf.worker_enable_remote_control:
            # Workers that look for each other: a second at each connect, in which nobody answers, and
            # exclusive queues, which a lost connection locks.
            options.update(without_mingle=True, without_gossip=True)
        super().__init__(*args, **options)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Celery 5.6 ends a worker whose pool cannot end running tasks: threads. They run on, and again."""
        with suppress(NotImplementedError):
            super().on_connection_error_after_connected(exc)

    def perform_pending_operations(self) -> None:
        """Called between two waits for messages where there is no event loop: gevent and eventlet.

        When an acknowledgement fails there, kombu connects again in silence, and the worker waits for ever
        on a connection that consumes nothing (celery/celery#3377).
        """
        super().perform_pending_operations()
        if self.hub is None and self.task_consumer is not None:
            connection = self.task_consumer.channel.connection
            if connection is None or not getattr(connection, "connected", True):
                raise RecoverableConnectionError("lost while a task was acknowledged")

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Reject what cannot be decoded, so that it becomes a dead letter; Celery acknowledges it."""
        message.ack = message.reject
        super().on_decode_error(message, exc)

    class Blueprint(Consumer.Blueprint):  # type: ignore[misc, valid-type] # a plain Any in celery-types
        """Celery's steps, one replaced."""

        default_steps = (
            *(step for step in Consumer.Blueprint.default_steps if not step.endswith(":DelayedDelivery")),
            DelayedDeliveryOnce,
        )
