"""Declaring an application's queues before tasks are published or consumed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from amqp.exceptions import NotFound, PreconditionFailed
from celery import Celery
from kombu import Connection, Exchange, Queue
from kombu.common import Broadcast
from kombu.transport.native_delayed_delivery import (
    CELERY_DELAYED_DELIVERY_EXCHANGE,
    MAX_LEVEL,
    bind_queue_to_native_delayed_delivery_exchange,
    declare_native_delayed_delivery_exchanges_and_queues,
    level_name,
)

from celery_durable.amqp import as_quorum
from celery_durable.window import conflict


def declare_queues(app: Celery, queues: Iterable[Queue] | None = None, others: Iterable[Queue] = ()) -> int:
    """Declare queues with their exchanges and bindings, and the queues of delayed delivery.

    `queues` are the queues of tasks; None: all queues of `app`. `others` are queues that Celery does not
    consume, without delayed delivery. Returns how many exchanges and queues were missing. Raises amqp's
    errors, e.g. PreconditionFailed if a queue or exchange exists with other properties.

    Prevents an error (404) for a task with a countdown that is published before the first worker has run. A
    window retries, so its error comes after 40 s.
    """
    known = app.amqp.queues.values() if queues is None else map(as_quorum, queues)
    tasks = [queue for queue in known if not isinstance(queue, Broadcast)]
    all_queues = [*tasks, *others]
    with app.connection_for_write() as connection:
        levels = [level_name(level) for level in range(MAX_LEVEL + 1)]
        delays = [Exchange(name, type="topic") for name in (*levels, CELERY_DELAYED_DELIVERY_EXCHANGE)]
        missing_delays = _missing(connection, delays, [Queue(name) for name in levels])
        exchanges = {queue.exchange.name: queue.exchange for queue in all_queues if queue.exchange}
        exchanges.pop("", None)
        missing = _missing(connection, exchanges.values(), all_queues)
        try:
            for queue in all_queues:
                queue(connection).declare()
            if missing_delays:
                queue_type = app.conf.broker_native_delayed_delivery_queue_type
                declare_native_delayed_delivery_exchanges_and_queues(connection, queue_type)
        except PreconditionFailed as error:
            raise conflict(error) from error
        for queue in tasks:
            bind_queue_to_native_delayed_delivery_exchange(connection, queue)
    return missing + missing_delays


def _missing(connection: Connection, exchanges: Iterable[Exchange], queues: Iterable[Queue]) -> int:
    channel: Any = connection.channel()
    missing = 0
    entities: list[Any] = [*exchanges, *queues]
    for entity in entities:
        try:
            if isinstance(entity, Exchange):
                channel.exchange_declare(entity.name, entity.type, passive=True)
            else:
                channel.queue_declare(entity.name, passive=True)
        except NotFound:
            # A failed passive declaration closes the channel.
            missing += 1
            channel = connection.channel()
    channel.close()
    return missing
