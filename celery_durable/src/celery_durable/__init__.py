"""What a Celery application on RabbitMQ quorum queues needs so that no accepted task is lost.

    app = Celery("shop")
    make_durable(app)

The promise is at least once: nothing that was accepted is lost; a task may run twice, so its effects should
be idempotent. `celery_durable.metrics` (extra `prometheus`) measures how long the broker takes to confirm.
"""

from celery_durable.amqp import quorum_queue
from celery_durable.declare import declare_queues
from celery_durable.durable import make_durable
from celery_durable.window import ConfirmWindow, Unconfirmed

__all__ = ["ConfirmWindow", "Unconfirmed", "declare_queues", "make_durable", "quorum_queue"]
