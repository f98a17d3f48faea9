"""Remote control: each connection of a worker has a queue of its own, which commands reach all the same."""

from __future__ import annotations

from celery import Celery


def test_no_connection_waits_for_the_queue_of_another(app: Celery) -> None:
    mailbox = app.control.mailbox
    first, second = (mailbox.get_queue("render@worker-1") for _ in range(2))
    assert first.name != second.name
    for queue in (first, second):
        assert queue.name.startswith("render@worker-1.")
        assert queue.name.endswith(".celery.pidbox"), "what the broker's user may declare"
        assert queue.exclusive
        assert queue.exchange == mailbox.exchange
