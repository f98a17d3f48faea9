"""Queues and messages of an application: quorum queues on topic exchanges; workers drop expired tasks."""

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

from celery_durable.confirms import message_confirmed, message_unconfirmed
from celery_durable.window import CURRENT, ConfirmWindow, conflict

logger = logging.getLogger("celery_durable")

EX_CONFIG = 78  # sysexits.h: systemd does not restart a unit with RestartPreventExitStatus=78
REFUSED_ARGUMENTS = ("x-max-priority", "x-queue-mode", "x-queue-version", "x-queue-master-locator")


def quorum_queue(name: str, exchange: Exchange, routing_key: str, expires: float | None = None) -> Queue:
    """Return a durable quorum queue, bound to `exchange` (of type topic) by `routing_key`.

    `expires`: the broker deletes the queue after this many seconds without a consumer; None: never.

    Prevents that all waiting tasks are lost with the one broker that has a classic queue. The drill
    `power-off-broker-leader` shows it.
    """
    return as_quorum(Queue(name, exchange=exchange, routing_key=routing_key, expires=expires))


def as_quorum(queue: Queue, kept: Exchange | None = None) -> Queue:
    """Return a copy of `queue` that is a quorum queue on a topic exchange, if this is possible.

    Temporary queues (exclusive, auto-delete, broadcast) and queues with an explicit type do not change, nor
    does the exchange `kept`.
    """
    arguments = dict(queue.queue_arguments or {})
    kind = arguments.setdefault("x-queue-type", "quorum")
    if kind == "classic":
        logger.warning("the queue %s is classic: its tasks are lost with its broker", queue.name)
    if isinstance(queue, Broadcast) or queue.exclusive or queue.auto_delete or kind != "quorum":
        return queue
    found: Any = copy(queue)  # celery-types is incomplete
    found.on_declared = queue.on_declared
    found.durable = True
    found.max_priority = None
    found.queue_arguments = {key: arguments[key] for key in arguments if key not in REFUSED_ARGUMENTS}
    exchange = queue.exchange
    stays = exchange is None or exchange == kept or exchange.name.startswith("amq.")
    if not stays and exchange.type == "direct":
        found.exchange = copy(exchange)
        found.exchange.type = "topic"
    # With a direct exchange Celery publishes to the queue itself. A topic exchange needs a routing key.
    found.routing_key = queue.routing_key or queue.name
    return found  # type: ignore[no-any-return]


class QuorumQueues(Queues):
    """The application's queues. Each configured queue becomes a quorum queue.

    `task_create_missing_queue_type` and `..._exchange_type` decide for the queues of `-Q` and of routes.
    """

    # Missing in celery-types.
    default_exchange: Exchange
    create_missing: bool

    def _add(self, queue: Queue) -> Queue:
        return self._store(as_quorum(queue, self.default_exchange))

    def __missing__(self, name: str) -> Queue:
        if not self.create_missing:
            raise KeyError(name)
        return self._store(self.new_missing(name))

    def _store(self, queue: Queue) -> Queue:
        super()._add(queue)  # type: ignore[misc]
        arguments = queue.queue_arguments or {}
        if arguments.get("x-queue-type") == "quorum":
            arguments.pop("x-max-priority", None)  # from task_queue_max_priority; the broker refuses it
        for other in self.values():
            shared = (other.exchange, other.routing_key) == (queue.exchange, queue.routing_key)
            if shared and other.name != queue.name and queue.exchange.type == "topic":
                logger.warning(
                    "the queues %s and %s have the same exchange and routing key: each task runs in both",
                    other.name,
                    queue.name,
                )
        return queue


class _Durable:
    """The behaviour that is added to an application's `app.amqp`."""

    app: Any
    default_exchange: Any

    def Queues(self, queues: Any, *args: Any, **options: Any) -> Any:  # noqa: N802 - Celery's name
        conf = self.app.conf
        if not queues and conf.task_default_queue_type == "classic":
            queues = [
                Queue(
                    conf.task_default_queue,
                    exchange=self.default_exchange,
                    routing_key=conf.task_default_routing_key,
                    queue_arguments={"x-queue-type": "classic"},
                )
            ]
        return super().Queues(queues, *args, **options)  # type: ignore[misc]

    def TaskConsumer(self, *args: Any, **options: Any) -> Any:  # noqa: N802 - Celery's name
        try:
            return super().TaskConsumer(*args, **options)  # type: ignore[misc]
        except PreconditionFailed as error:
            raise refused(error) from error

    def _create_task_sender(self) -> Callable[..., Any]:
        send = super()._create_task_sender()  # type: ignore[misc]

        def send_task_message(producer: Any, name: str, message: Any, **options: Any) -> Any:
            # The broker would dead-letter an expired message. The worker drops it by the header `expires`.
            options.pop("expiration", None)
            queue = options.get("queue")
            if isinstance(queue, Queue) and "x-queue-type" not in (queue.queue_arguments or {}):
                options["queue"] = as_quorum(queue)
            window = CURRENT.get()
            if window is not None and window.app is self.app:
                producer = window
            if isinstance(producer, ConfirmWindow):
                return send(producer, name, message, **options)
            return self._send_and_measure(send, producer, name, message, **options)

        return send_task_message

    def _send_and_measure(self, send: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Publish one message as Celery does, and wait for its publisher confirm."""
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


def refused(error: PreconditionFailed) -> WorkerShutdown:
    """Log the conflict, and return the exception that ends the worker: reconnecting would not help."""
    logger.critical("%s", conflict(error).reply_text)
    return WorkerShutdown(EX_CONFIG)


class DurableAMQP(_Durable, AMQP):
    """`app.amqp` of most applications, a named class so that applications can be pickled."""

    queues_cls = QuorumQueues


@cache
def durable_amqp(base: type[AMQP]) -> type[AMQP]:
    """Return a subclass of `base` with the behaviour of this module."""
    if base is AMQP:
        return DurableAMQP
    queues: Any = type("DurableQueues", (QuorumQueues, base.queues_cls), {})
    return type("DurableAMQP", (_Durable, base), {"queues_cls": queues})
