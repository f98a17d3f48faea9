"""The levels of delay: when a worker declares them, and when it does not."""

from __future__ import annotations

from typing import Any

import pytest
from celery.worker.consumer import Consumer
from celery.worker.consumer.delayed_delivery import DelayedDelivery
from mosaic import delays


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
    monkeypatch.setattr(delays.time, "monotonic", lambda: now[0])
    step = delays.DeclaredOnce(Parent())
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
    step = delays.DeclaredOnce(Parent())
    for _ in range(2):
        with pytest.raises(OSError, match="no leader"):
            step.start(Parent())
        step.stop(Parent())
    assert begun == ["start"] * 2


def test_workers_use_it_in_place_of_celerys(monkeypatch: pytest.MonkeyPatch) -> None:
    before = list(Consumer.Blueprint.default_steps)
    monkeypatch.setattr(Consumer.Blueprint, "default_steps", before)
    delays.declare_once()
    delays.declare_once()
    after = Consumer.Blueprint.default_steps
    assert after.count(delays.DeclaredOnce) == 1
    assert len(after) == len(before)
    blueprint = Consumer.Blueprint()
    names = [name for name in blueprint.claim_steps() if "elay" in name or "Declared" in name]
    assert names == ["mosaic.delays.DeclaredOnce"]
