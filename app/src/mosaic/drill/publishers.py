"""Ways to publish units of a drill; each returns when all were accepted, and raises when nobody knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from amqp.exceptions import AMQPError
from celery import Celery
from kombu.exceptions import KombuError

from celery_durable import Unconfirmed
from mosaic.ledger.jobs import TaskCall
from mosaic.publish import publish

NOT_KNOWN = (Unconfirmed, AMQPError, KombuError, OSError)
BATCH = 5


@dataclass(frozen=True)
class Publisher:
    """`send` publishes up to `batch` calls at once; raises NOT_KNOWN when not all of them were accepted."""

    send: Callable[[Sequence[TaskCall]], None]
    batch: int = 1


def celery_publisher(app: Celery) -> Publisher:
    """Return Celery's own way: `send_task` with the application's settings, whatever they are."""

    def send(calls: Sequence[TaskCall]) -> None:
        for call in calls:
            app.send_task(call.task, args=call.args, task_id=call.task_id)

    return Publisher(send)


def window_publisher(app: Celery) -> Publisher:
    """Return the gateway's way: several at once, and a silent connection is given up."""
    return Publisher(lambda calls: publish(app, calls), BATCH)


def publishers(profile: str) -> Mapping[str, Publisher]:
    """Return the publishers of a profile, "lab" or "stock", by name."""
    if profile == "stock":
        from mosaic.drill import stock

        return {"celery": celery_publisher(stock.app)}
    from mosaic.celery import current_app

    return {"celery": celery_publisher(current_app()), "window": window_publisher(current_app())}
