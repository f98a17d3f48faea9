"""Metrics: every attempt in the ledger is counted exactly once."""

from __future__ import annotations

import datetime
import uuid
from typing import Any

import pytest
from mosaic.config import Broker, Config, Database
from mosaic.ledger import periodic
from mosaic.ledger.database import transaction
from mosaic.ledger.models import DONE, RETRIED, Attempt, DrillAttempt, PeriodicRun
from mosaic.ledger.work import Runner
from mosaic.metrics.ledger import LedgerMetrics
from prometheus_client import CollectorRegistry
from sqlalchemy import update

CONFIG = Config(
    host="gateway-1",
    broker=Broker(url="amqp://u:p@127.0.0.1:1/mosaic"),
    database=Database(url="postgresql+psycopg://u@/mosaic"),
)
TILE = {"task": "mosaic.render.tile", "host": "worker-1"}


def enter(ended_ago: float | None, seconds: float = 0.3, **changes: Any) -> None:
    """Enter an attempt that ended so many seconds ago; None: it runs."""
    now = datetime.datetime.now(datetime.UTC)
    ended = None if ended_ago is None else now - datetime.timedelta(seconds=ended_ago)
    values = {"number": 1, "outcome": None if ended is None else DONE, "pid": 1} | TILE | changes
    with transaction() as session:
        started = (ended or now) - datetime.timedelta(seconds=seconds)
        session.add(Attempt(task_id=str(uuid.uuid4()), started_at=started, ended_at=ended, **values))


class Follower:
    """The metrics in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = LedgerMetrics(self.registry)

    def update(self) -> int:
        with transaction() as session:
            return self.metrics.update(session)

    def value(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
def follower(config: Config) -> Follower:
    """Yield a follower that has seen the ledger as it is."""
    found = Follower()
    found.update()
    return found


def test_what_ended_before_is_not_counted(config: Config) -> None:
    enter(60)
    follower = Follower()
    assert follower.update() == 0
    assert follower.value("mosaic_task_attempts_total", outcome=DONE, **TILE) == 0


def test_every_attempt_is_counted_once_with_its_host_and_duration(follower: Follower) -> None:
    enter(0, seconds=0.3)
    enter(0, seconds=0.7)
    enter(None)
    assert follower.update() == 2
    assert follower.update() == 0
    assert follower.value("mosaic_task_attempts_total", outcome=DONE, **TILE) == 2
    assert follower.value("mosaic_task_seconds_count", **TILE) == 2
    assert follower.value("mosaic_task_seconds_sum", **TILE) == pytest.approx(1.0)
    assert follower.value("mosaic_task_seconds_bucket", le="0.5", **TILE) == 1


def test_a_row_that_is_committed_late_is_not_missed(follower: Follower) -> None:
    assert follower.metrics._since is not None
    follower.metrics._since -= datetime.timedelta(minutes=1)  # it has followed for a minute
    enter(0)
    assert follower.update() == 1
    enter(3)  # its transaction took 3 s
    assert follower.update() == 1
    assert follower.update() == 0


def test_retries_are_told_from_first_attempts(follower: Follower) -> None:
    enter(0, outcome=RETRIED)
    enter(0, number=2)
    follower.update()
    assert follower.value("mosaic_task_retries_total", **TILE) == 1
    assert follower.value("mosaic_task_attempts_total", outcome=RETRIED, **TILE) == 1
    assert follower.value("mosaic_task_seconds_count", **TILE) == 1, "one that was put off did no work"


def test_drills_are_counted_too(follower: Follower) -> None:
    now = datetime.datetime.now(datetime.UTC)
    row = {
        "run": "r",
        "unit": 1,
        "number": 1,
        "task_id": "t",
        "redelivered": False,
        "host": "worker-2",
        "pid": 1,
    }
    with transaction() as session:
        session.add(DrillAttempt(started_at=now, ended_at=now, outcome=DONE, **row))
    follower.update()
    labels = {"task": "mosaic.drill.work", "host": "worker-2", "outcome": DONE}
    assert follower.value("mosaic_task_attempts_total", **labels) == 1


def test_the_latest_tick_is_told(follower: Follower) -> None:
    assert follower.value("mosaic_beat_last_tick_timestamp_seconds") == 0
    with transaction() as session:
        for task in (periodic.TICK, "mosaic.upkeep.sweep"):
            periodic.begin(session, Runner("t", task, "worker-1", 1), "gateway-1")
        long_ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
        session.execute(
            update(PeriodicRun).where(PeriodicRun.task == periodic.TICK).values(started_at=long_ago)
        )
    follower.update()
    assert follower.value("mosaic_beat_last_tick_timestamp_seconds") == pytest.approx(long_ago.timestamp())
