"""A first Celery application: one instance, two tasks, and Celery's own values for all settings."""

from __future__ import annotations

import time

from celery import Celery

# The lab sets CELERY_BROKER_URL and CELERY_RESULT_BACKEND, which Celery uses instead of these addresses.
app = Celery("tasks", broker="amqp://localhost", backend="rpc://")


@app.task
def add(x: float, y: float) -> float:
    """Return the sum of two numbers."""
    return x + y


@app.task
def wait(seconds: float) -> float:
    """Take some time, as real work does."""
    time.sleep(seconds)
    return seconds


if __name__ == "__main__":
    print(add.delay(2, 3).get(timeout=30))
