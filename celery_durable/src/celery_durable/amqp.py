"""Queues and messages of an application: quorum queues on topic exchanges, expiry left to the worker."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from copy import copy
from functools import cache
from typing import Any

from amqp.exceptions import PreconditionFailed
from celery.app.amqp import AMQP, Queues
from celery.exceptions import WorkerShutdown
from kombu import Exchange, Queue
from kombu.common import Broadcast

from celery_durable.window import ConfirmWindow, conflict, message_confirmed, message_unconfirmed

logger = logging.getLogger("celery_durable")

EX_CONFIG = 78  # sysexits.h: a unit with RestartPreventExitStatus=78 is not started again


def quorum_queue(name: str, exchange: Exchange, routing_key: str, expires: float | None = None) -> Queue:
    """Return a durable quorum queue, bound to `exchange` (of type topic) by `routing_key`.

    `expires`: seconds without a consumer after which the broker removes it; None keeps it for ever.

    Prevents: the loss of all waiting tasks with the one broker that holds a classic queue. Shown by the drill
    `power-off-broker`.
    """
    return as_quorum(Queue(name, exchange=exchange, routing_key=routing_key, durable=True, expires=expires))


def as_quorum(queue: Queue) -> Queue:
    """Return `queue` as a quorum queue on a topic exchange, where it is a queue that can be one.

    Queues that are meant to go (exclusive, auto-delete, broadcast) and those that name their type stay.
    """
    if isinstance(queue, Broadcast) or queue.exclusive or queue.auto_delete:
        return queue
    arguments = dict(queue.queue_arguments or {})
    kind = arguments.setdefault("x-queue-type", "quorum")
    if kind == "classic":
        logger.warning("queue %s is declared classic: its tasks are lost with its broker", queue.name)
    if kind != "quorum":
        return queue
    # Quorum queues know two priorities without being asked, and refuse this argument.
    arguments.pop("x-max-priority", None)
    queue.queue_arguments = arguments
    queue.durable = True
    if queue.exchange is not None and queue.exchange.name and queue.exchange.type == "direct":
        exchange = copy(queue.exchange)
        exchange.type = "topic"
        queue.exchange = exchange
    return queue


class QuorumQueues(Queues):
    """The application's queues: each becomes a quorum queue when it is added, also by `-Q` or by a route."""

    def __setitem__(self, name: str, queue: Queue) -> None:
        super().__setitem__(name, queue)
        as_quorum(queue)


class _Durable:
    """What is added to an application's `app.amqp`, whatever its class."""

    app: Any
    queues: Any

    def TaskConsumer(self, *args: Any, **options: Any) -> Any:  # noqa: N802 - Celery's name
        try:
            return super().TaskConsumer(*args, **options)  # type: ignore[misc]
        except PreconditionFailed as error:
            logger.critical("%s", conflict(error))
            raise WorkerShutdown(EX_CONFIG) from error

    def _create_task_sender(self) -> Callable[..., Any]:
        send = super()._create_task_sender()  # type: ignore[misc]

        def send_task_message(producer: Any, name: str, message: Any, **options: Any) -> Any:
            # A message that the broker lets expire becomes a dead letter. The worker drops by the header
            # `expires` what comes too late.
            options.pop("expiration", None)
            if isinstance(producer, ConfirmWindow):
                return send(producer, name, message, **options)
            return self._send_and_measure(send, producer, name, message, **options)

        return send_task_message

    def _send_and_measure(self, send: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Publish one message as Celery does, which waits for its confirm."""
        begun = time.monotonic()
        try:
            sent = send(*args, **options)
        except PreconditionFailed as error:
            raise conflict(error) from error
        except Exception:
            message_unconfirmed.send(sender=self.app)
            raise
        message_confirmed.send(sender=self.app, seconds=time.monotonic() - begun)
        return sent


@cache
def durable_amqp(base: type[AMQP]) -> type[AMQP]:
    """Return the class of `app.amqp` that adds this module's behaviour to `base`."""
    queues: Any = type("DurableQueues", (QuorumQueues, base.queues_cls), {})
    return type("DurableAMQP", (_Durable, base), {"queues_cls": queues})
