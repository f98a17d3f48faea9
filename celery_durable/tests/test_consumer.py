"""The worker's consumer: when it declares the queues of delayed delivery, and when it ends."""

from __future__ import annotations

from collections import deque
from contextlib import nullcontext
from typing import Any
from unittest.mock import Mock

import pytest
from amqp.exceptions import PreconditionFailed, RecoverableConnectionError
from celery import Celery
from celery.exceptions import WorkerShutdown
from celery.utils.imports import symbol_by_name
from celery.worker.consumer import Consumer
from celery.worker.consumer.delayed_delivery import DelayedDelivery
from celery_durable.consumer import DelayedDeliveryOnce, DurableConsumer

from celery_durable import consumer, make_durable


class Parent:
    """A consumer, as far as a step needs it."""


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What Celery's own step was asked to do."""
    done: list[str] = []

    def start(self: Any, consumer: Any) -> None:
        done.append("start")
        self._setup_delayed_delivery(consumer, "amqp://")

    monkeypatch.setattr(DelayedDelivery, "start", start)
    monkeypatch.setattr(DelayedDelivery, "_setup_delayed_delivery", lambda *_: done.append("declared"))
    return done


def test_a_short_loss_of_the_connection_declares_nothing(
    begun: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(consumer.time, "monotonic", lambda: now[0])
    step = DelayedDeliveryOnce(Parent())
    step.start(Parent())
    assert begun == ["start", "declared"]
    step.stop(Parent())
    now[0] += 30
    step.stop(Parent())  # an attempt to reconnect that failed before this step
    now[0] += 29
    step.start(Parent())
    assert len(begun) == 2
    step.stop(Parent())
    now[0] += 61
    step.start(Parent())
    assert begun == ["start", "declared"] * 2


def test_what_could_not_be_declared_is_tried_again(begun: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise OSError("no leader")

    monkeypatch.setattr(DelayedDelivery, "_setup_delayed_delivery", fails)
    step = DelayedDeliveryOnce(Parent())
    for _ in range(2):
        with pytest.raises(OSError, match="no leader"):
            step.start(Parent())
        step.stop(Parent())
    assert begun == ["start"] * 2


def test_a_classic_delay_queue_in_the_way_ends_the_worker(
    begun: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any) -> None:
        raise PreconditionFailed("inequivalent arg 'x-queue-type' for queue 'celery_delayed_27'", (50, 10))

    monkeypatch.setattr(DelayedDelivery, "_setup_delayed_delivery", fails)
    with pytest.raises(WorkerShutdown) as caught:
        DelayedDeliveryOnce(Parent()).start(Parent())
    assert caught.value.code == 78
    assert "celery_delayed_27" in caplog.text
    assert "rabbitmqctl delete_queue" in caplog.text


def test_workers_use_it_in_place_of_celerys(app: Celery) -> None:
    plain = Consumer.Blueprint.default_steps
    steps = symbol_by_name(app.conf.worker_consumer).Blueprint.default_steps
    assert len(steps) == len(plain)
    assert set(plain) - set(steps) == {"celery.worker.consumer.delayed_delivery:DelayedDelivery"}
    assert set(steps) - set(plain) == {DelayedDeliveryOnce}
    names = [name for name in DurableConsumer.Blueprint().claim_steps() if "elay" in name]
    assert names == ["celery_durable.consumer.DelayedDeliveryOnce"]


@pytest.mark.parametrize("remote_control", [False, True])
def test_workers_look_for_each_other_only_when_they_can_answer(
    monkeypatch: pytest.MonkeyPatch, remote_control: bool
) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(Consumer, "__init__", lambda *_, **options: given.update(options))
    app = make_durable(Celery("shop", set_as_current=False), remote_control=remote_control)
    DurableConsumer(print, app=app, hostname="celery@here")
    alone = {"without_mingle": True, "without_gossip": True}
    assert given == {"app": app, "hostname": "celery@here", **({} if remote_control else alone)}


def test_a_pool_that_cannot_end_a_task_does_not_end_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    error = NotImplementedError("does not implement kill_job")
    monkeypatch.setattr(Consumer, "on_connection_error_after_connected", Mock(side_effect=error))
    DurableConsumer.__new__(DurableConsumer).on_connection_error_after_connected(OSError())


@pytest.mark.parametrize(
    ("connection", "lost"),
    [(Mock(connected=True), False), (Mock(connected=False), True), (None, True), (object(), False)],
    ids=["connected", "lost", "collected", "of another transport"],
)
def test_a_worker_without_event_loop_notices_a_lost_connection(connection: Any, lost: bool) -> None:
    worker = DurableConsumer.__new__(DurableConsumer)
    worker.hub = None
    worker._pending_operations = deque()
    worker.task_consumer = Mock()
    worker.task_consumer.channel.connection = connection
    with pytest.raises(RecoverableConnectionError) if lost else nullcontext():
        worker.perform_pending_operations()


def test_what_cannot_be_decoded_becomes_a_dead_letter() -> None:
    message = Mock(body="{", content_type="application/json", content_encoding="utf-8", headers={})
    refused = message.reject
    acknowledged = message.ack
    DurableConsumer.on_decode_error(Mock(spec=DurableConsumer), message, ValueError("no JSON"))
    refused.assert_called_once_with()
    acknowledged.assert_not_called()
