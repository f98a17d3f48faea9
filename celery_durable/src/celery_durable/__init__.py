"""Celery on RabbitMQ quorum queues without lost tasks.

    app = Celery("shop")
    make_durable(app)

The guarantee is "at least once": no accepted task is lost, but a task may run twice, so its effects must be
idempotent. `celery_durable.metrics` (extra `prometheus`) measures the time until the broker confirms a task.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celery_durable.amqp import quorum_queue
    from celery_durable.declare import declare_queues
    from celery_durable.durable import make_durable
    from celery_durable.window import ConfirmWindow, Unconfirmed

__all__ = ["ConfirmWindow", "Unconfirmed", "declare_queues", "make_durable", "quorum_queue"]
_MODULES = {
    "ConfirmWindow": "window",
    "Unconfirmed": "window",
    "declare_queues": "declare",
    "make_durable": "durable",
    "quorum_queue": "amqp",
}


def __getattr__(name: str) -> Any:
    # On first use: a service that needs only celery_durable.systemd has no use for the 25 MB of Celery.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
