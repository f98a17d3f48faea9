"""Prometheus metrics of publisher confirms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from celery_durable.metrics import measure_publishing
from kombu.exceptions import OperationalError
from prometheus_client import REGISTRY
from scripted import Broker, Connection

from celery_durable import ConfirmWindow, confirms, make_durable


@pytest.fixture(autouse=True)
def _measured() -> Iterator[None]:
    """Measure for the length of a test."""
    signals = (confirms.message_confirmed, confirms.message_unconfirmed)
    before = [list(signal.receivers) for signal in signals]
    measure_publishing("test")
    yield
    for signal, receivers in zip(signals, before, strict=True):
        signal.receivers = receivers


def value(name: str) -> float:
    """A value now."""
    return REGISTRY.get_sample_value(f"celery_publish_{name}", {"publisher": "test"}) or 0.0


def test_a_windows_confirms_are_measured(app: Celery, broker: Broker) -> None:
    def answer(connection: Connection, tag: int, task_id: str) -> None:
        if broker.ids.count(task_id) == 1 and task_id in "12":
            connection.nack(tag)
        else:
            connection.ack(tag)

    broker.answer = answer
    count, lost = value("confirm_seconds_count"), value("unconfirmed_total")
    with ConfirmWindow(app, timeout=5) as window:
        for task_id in "012":
            app.send_task("add", task_id=task_id, producer=window)
    assert value("confirm_seconds_count") == count + 3
    assert value("unconfirmed_total") == lost + 2


def test_each_message_of_celery_is_measured(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    def publish(self: Any, body: Any, **_: Any) -> None:
        if fails:
            raise OperationalError("no broker")

    monkeypatch.setattr("kombu.Producer.publish", publish)
    fails = False
    count, lost = value("confirm_seconds_count"), value("unconfirmed_total")
    app.send_task("add")
    assert (value("confirm_seconds_count"), value("unconfirmed_total")) == (count + 1, lost)
    fails = True
    with pytest.raises(OperationalError):
        app.send_task("add")
    assert (value("confirm_seconds_count"), value("unconfirmed_total")) == (count + 1, lost + 1)


def test_other_applications_are_not_measured(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kombu.Producer.publish", lambda *_, **__: None)
    make_durable(app)
    count = value("confirm_seconds_count")
    Celery("plain", broker="amqp://u:p@127.0.0.1:1//", set_as_current=False).send_task("add")
    assert value("confirm_seconds_count") == count


def test_there_is_a_first_value_of_zero() -> None:
    """A rate does not see a counter that begins above it."""
    measure_publishing("another")
    assert REGISTRY.get_sample_value("celery_publish_unconfirmed_total", {"publisher": "another"}) == 0
