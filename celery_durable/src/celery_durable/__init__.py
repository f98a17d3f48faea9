"""Celery on RabbitMQ quorum queues without lost tasks.

    app = Celery("shop")
    make_durable(app)

The guarantee is "at least once": no accepted task is lost, but a task may run twice, so its effects must be
idempotent. `celery_durable.metrics` (extra `prometheus`) measures the time until the broker confirms a task.
"""

from celery_durable.amqp import quorum_queue
from celery_durable.declare import declare_queues
from celery_durable.durable import make_durable
from celery_durable.window import ConfirmWindow, Unconfirmed

__all__ = ["ConfirmWindow", "Unconfirmed", "declare_queues", "make_durable", "quorum_queue"]
