"""The worker's consumer: it declares delayed delivery when the worker starts, not at each reconnect."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from amqp.exceptions import PreconditionFailed, RecoverableConnectionError
from celery.worker.consumer import Consumer
from celery.worker.consumer.delayed_delivery import DelayedDelivery

from celery_durable.amqp import refused

# A broker that lost all its data needs longer than this to restart. Then everything must be declared again.
REMEMBERED_SECONDS = 60.0


class DelayedDeliveryOnce(DelayedDelivery):
    """Celery's step that declares 28 queues, skipped after a short loss of the connection.

    The broker asks the leader of each queue for its length. After a broker froze, idle queues whose leader it
    was have no new leader until the node counts as down. Meanwhile the worker could already consume, but
    stopped in this step for 5 s (read_timeout, a pause of 1 s, read_timeout again).
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
        if self._connected:  # failed attempts to reconnect call this too
            self._lost = time.monotonic()
        self._connected = False

    def _setup_delayed_delivery(self, c: Any, broker_url: str) -> None:
        try:
            super()._setup_delayed_delivery(c, broker_url)  # type: ignore[misc] # not in celery-types
        except PreconditionFailed as error:
            raise refused(error) from error
        self._declared = True


class DurableConsumer(Consumer):
    """Celery's consumer with this step; the setting `worker_consumer`."""

    # Missing in celery-types.
    hub: Any
    task_consumer: Any

    def __init__(self, *args: Any, **options: Any) -> None:
        if not options["app"].conf.worker_enable_remote_control:
            # Mingle takes a second at each connect, and no worker answers it. Gossip has exclusive queues,
            # which a lost connection locks.
            options.update(without_mingle=True, without_gossip=True)
        super().__init__(*args, **options)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Keep a worker with threads running. Celery 5.6 ends it, as it cannot end the running tasks."""
        with suppress(NotImplementedError):
            super().on_connection_error_after_connected(exc)

    def perform_pending_operations(self) -> None:
        """Check the connection between two waits for messages, without an event loop (gevent and eventlet).

        When an acknowledgement fails there, kombu reconnects silently, and the worker waits for ever on a
        connection without a consumer (celery/celery#3377).
        """
        super().perform_pending_operations()
        if self.hub is None and self.task_consumer is not None:
            connection = self.task_consumer.channel.connection
            if connection is None or not getattr(connection, "connected", True):
                raise RecoverableConnectionError("lost while a task was acknowledged")

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Reject a message that cannot be decoded, so that it is dead-lettered. Celery acknowledges it."""
        message.ack = message.reject
        super().on_decode_error(message, exc)

    class Blueprint(Consumer.Blueprint):  # type: ignore[misc, valid-type] # a plain Any in celery-types
        """Celery's steps with one replaced."""

        default_steps = (
            *(step for step in Consumer.Blueprint.default_steps if not step.endswith(":DelayedDelivery")),
            DelayedDeliveryOnce,
        )
