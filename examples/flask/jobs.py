"""The tasks of the page, and the queue of each."""

from __future__ import annotations

import time
from collections import Counter

from celery import Celery
from kombu import Exchange, Queue

app = Celery("jobs", broker="amqp://localhost", backend="rpc://")

# Messages for one exchange; their routing keys decide which queue gets them.
texts = Exchange("texts", type="topic")
app.conf.update(
    task_queues=[
        Queue("texts_short", texts, routing_key="texts.short"),
        Queue("texts_long", texts, routing_key="texts.long.#"),
    ],
    task_default_queue="texts_short",
    task_default_exchange="texts",
    task_default_routing_key="texts.short",
    task_routes={"jobs.report": {"queue": "texts_long", "routing_key": "texts.long.report"}},
    worker_pool="threads",  # for tasks that mostly wait
)


@app.task
def count(text: str) -> dict[str, int]:
    """Return the number of each word, the most frequent first."""
    return dict(Counter(text.lower().split()).most_common())


@app.task
def report(text: str) -> str:
    """Return a sentence about the text, slowly."""
    time.sleep(2)
    words = text.split()
    return f"{len(words)} words, {len(set(words))} of them different"
