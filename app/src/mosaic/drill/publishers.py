"""Ways to publish one unit of a drill; each returns when it was accepted, and raises when nobody knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from amqp.exceptions import AMQPError
from celery import Celery
from kombu.exceptions import KombuError

from celery_durable import Unconfirmed
from mosaic.ledger.jobs import TaskCall
from mosaic.publish import publish

Publish = Callable[[TaskCall], object]

NOT_KNOWN = (Unconfirmed, AMQPError, KombuError, OSError)


def celery_publisher(app: Celery) -> Publish:
    """Return Celery's own way: `send_task` with the application's settings, whatever they are."""

    return lambda call: app.send_task(call.task, args=call.args, task_id=call.task_id)


def window_publisher(app: Celery) -> Publish:
    """Return the gateway's way, which gives up a silent connection by itself."""
    return lambda call: publish(app, [call])


def publishers(profile: str) -> Mapping[str, Publish]:
    """Return the publishers of a profile, "lab" or "stock", by name."""
    if profile == "stock":
        from mosaic.drill import stock

        return {"celery": celery_publisher(stock.app)}
    from mosaic.celery import current_app

    return {"celery": celery_publisher(current_app()), "window": window_publisher(current_app())}
