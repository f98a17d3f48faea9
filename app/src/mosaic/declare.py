"""Declaring the topology on a broker, with a count of what was new."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amqp.exceptions import NotFound
from kombu import Connection, Exchange, Queue
from kombu.transport.native_delayed_delivery import (
    MAX_LEVEL,
    bind_queue_to_native_delayed_delivery_exchange,
    declare_native_delayed_delivery_exchanges_and_queues,
    level_name,
)

from mosaic import topology

DELAYED_DELIVERY_EXCHANGE = "celery_delayed_delivery"


def declare_all(connection: Connection) -> int:
    """Declare exchanges, queues, bindings and the delayed-delivery levels; return how many were missing."""
    queues = (*topology.shared_task_queues(), *topology.plain_queues())
    missing = _count_missing(connection, topology.exchanges(), queues)
    channel: Any = connection.channel()
    for exchange in topology.exchanges():
        exchange.bind(channel).declare()
    for queue in queues:
        queue.bind(channel).declare()
    channel.close()
    missing += _declare_delayed_delivery(connection)
    for queue in topology.shared_task_queues():
        bind_queue_to_native_delayed_delivery_exchange(connection, queue)
    return missing


def _declare_delayed_delivery(connection: Connection) -> int:
    """Declare Celery's 28 delay levels; return the number of queues and exchanges that were missing."""
    levels = [level_name(level) for level in range(MAX_LEVEL + 1)]
    exchanges = tuple(Exchange(name, type="topic") for name in (*levels, DELAYED_DELIVERY_EXCHANGE))
    missing = _count_missing(connection, exchanges, tuple(Queue(name) for name in levels))
    if missing:
        declare_native_delayed_delivery_exchanges_and_queues(connection, "quorum")
    return missing


def _count_missing(connection: Connection, exchanges: tuple[Exchange, ...], queues: tuple[Queue, ...]) -> int:
    channel: Any = connection.channel()
    missing = 0
    checks: list[Callable[[Any], Any]] = [
        *(lambda ch, name=e.name: ch.exchange_declare(name, "topic", passive=True) for e in exchanges),
        *(lambda ch, name=q.name: ch.queue_declare(name, passive=True) for q in queues),
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
