"""Declaring an application's queues before anybody publishes or consumes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from amqp.exceptions import NotFound
from celery import Celery
from kombu import Connection, Exchange, Queue
from kombu.transport.native_delayed_delivery import (
    MAX_LEVEL,
    bind_queue_to_native_delayed_delivery_exchange,
    declare_native_delayed_delivery_exchanges_and_queues,
    level_name,
)

DELAYED_DELIVERY_EXCHANGE = "celery_delayed_delivery"


def declare_queues(app: Celery, queues: Iterable[Queue], others: Iterable[Queue] = ()) -> int:
    """Declare `queues` with their exchanges and bindings and the queues of delayed delivery.

    `others` are queues that Celery does not consume, without delayed delivery. Returns how many exchanges and
    queues were missing. Raises amqp's errors, PreconditionFailed where one exists with other properties.

    Prevents: a task with a countdown that is published before the first worker ran is lost or an error (404).
    """
    tasks, others = list(queues), list(others)
    with app.connection_for_write() as connection:
        levels = [level_name(level) for level in range(MAX_LEVEL + 1)]
        delays = [Exchange(name, type="topic") for name in (*levels, DELAYED_DELIVERY_EXCHANGE)]
        missing_delays = _missing(connection, delays, [Queue(name) for name in levels])
        exchanges = {queue.exchange.name: queue.exchange for queue in (*tasks, *others)}
        missing = _missing(connection, exchanges.values(), (*tasks, *others))
        channel: Any = connection.channel()
        for queue in (*tasks, *others):
            queue.bind(channel).declare()
        channel.close()
        if missing_delays:
            declare_native_delayed_delivery_exchanges_and_queues(connection, "quorum")
        for queue in tasks:
            bind_queue_to_native_delayed_delivery_exchange(connection, queue)
    return missing + missing_delays


def _missing(connection: Connection, exchanges: Iterable[Exchange], queues: Iterable[Queue]) -> int:
    channel: Any = connection.channel()
    missing = 0
    checks: list[Callable[[Any], Any]] = [
        *(lambda ch, e=e: ch.exchange_declare(e.name, e.type, passive=True) for e in exchanges),
        *(lambda ch, q=q: ch.queue_declare(q.name, passive=True) for q in queues),
    ]
    for check in checks:
        try:
            check(channel)
        except NotFound:
            # A passive declaration of something missing closes the channel.
            missing += 1
            channel = connection.channel()
    channel.close()
    return missing
