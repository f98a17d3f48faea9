"""Tasks and load of drills, with a real ledger: attempts, effects, the producer's file, dead letters."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import Retry
from click.testing import CliRunner
from mosaic.cli import main
from mosaic.config import Config
from mosaic.drill.load import LedgerFile, Load, Plan, Publisher, publishers
from mosaic.drill.units import Hold
from mosaic.ledger import drills
from mosaic.ledger.database import transaction
from mosaic.ledger.drills import Unit
from mosaic.ledger.jobs import TaskCall
from mosaic.ledger.work import Runner
from sqlalchemy.exc import OperationalError
from test_mosaic_dead_letters import FakeBroker, properties

RUN = "some-drill"


def outcomes() -> list[tuple[int, int, str | None]]:
    """Unit, number and outcome of every attempt."""
    with transaction() as session:
        return [(row["unit"], row["number"], row["outcome"]) for row in drills.attempts(session, RUN)]


def do(app: Celery, name: str, *arguments: Any) -> Any:
    """Run a task in this process."""
    return app.tasks[f"mosaic.drill.{name}"].apply(args=(RUN, *arguments))


def test_work_has_its_effect_once(app: Celery) -> None:
    for _ in range(2):
        do(app, "work", 1, 0.0)
    assert outcomes() == [(1, 1, "done"), (1, 2, "duplicate")]
    with transaction() as session:
        assert drills.executed(session, RUN) == 1
        assert list(drills.effects(session, RUN)) == [1]


def test_of_two_attempts_at_once_one_has_the_effect(app: Celery) -> None:
    runner = Runner("id", "mosaic.drill.work", "worker-1", 1)
    unit = Unit(RUN, 1)
    with transaction() as session:
        first = drills.begin(session, unit, runner)
    with transaction() as session:
        second = drills.begin(session, unit, runner)
    assert first is not None
    assert second is not None
    assert (first.number, second.number) == (1, 2)
    for begun in (second, first):
        with transaction() as session:
            drills.finish(session, unit, begun)
    assert sorted(outcomes(), key=lambda row: row[1]) == [(1, 1, "duplicate"), (1, 2, "done")]
    with transaction() as session:
        assert drills.effects(session, RUN) == {1: second.attempt}


def test_an_attempt_that_did_not_end_tells_who_runs_it(app: Celery) -> None:
    with transaction() as session:
        drills.begin(session, Unit(RUN, 1), Runner("id", "mosaic.drill.work", "worker-2", 77))
    with transaction() as session:
        assert drills.runner_of(session, Unit(RUN, 1)) == ("worker-2", 77)
        assert drills.runner_of(session, Unit(RUN, 2)) is None


def test_a_held_unit_is_at_work_until_it_is_let_go(app: Celery) -> None:
    hold = Hold(Unit(RUN, 1))
    threading.Timer(0.5, hold.release).start()
    began = time.monotonic()
    do(app, "held", 1, 30.0)
    assert 0.4 < time.monotonic() - began < 5
    assert outcomes() == [(1, 1, "done")]


def test_a_held_unit_is_held_for_so_long_at_most_and_only_once(app: Celery) -> None:
    hold = Hold(Unit(RUN, 1))
    try:
        began = time.monotonic()
        do(app, "held", 1, 0.3)
        assert 0.3 <= time.monotonic() - began < 3
        with transaction() as session:
            drills.begin(session, Unit(RUN, 2), Runner("id", "mosaic.drill.held", "worker-2", 77))
        do(app, "held", 2, 30.0)
        assert time.monotonic() - began < 5
    finally:
        hold.release()


def test_hog_is_slow_only_once(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("mosaic.drill.units.time.sleep", slept.append)
    with transaction() as session:
        drills.begin(session, Unit(RUN, 1), Runner("id", "mosaic.drill.hog", "worker-2", 77))
    do(app, "hog", 1, 90.0)
    do(app, "hog", 2, 90.0)
    assert slept == [90.0]


def test_poison_kills_its_process(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr("mosaic.drill.units.os.kill", lambda pid, number: killed.append((pid, number)))
    do(app, "poison", 1)
    assert killed == [(os.getpid(), signal.SIGKILL)]


def test_an_absent_database_puts_the_unit_off(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object) -> None:
        raise OperationalError("SELECT 1", {}, Exception("server closed the connection"))

    def publish_nothing(_self: object, *_: object, **__: object) -> None:
        return None

    monkeypatch.setattr("mosaic.ledger.drills.finish", absent)
    monkeypatch.setattr("celery.canvas.Signature.apply_async", publish_nothing)
    task = app.tasks["mosaic.drill.work"]
    task.push_request(
        called_directly=False, id="id", retries=0, args=(RUN, 1, 0.0), kwargs={}, delivery_info={}
    )
    try:
        with pytest.raises(Retry):
            task(RUN, 1, 0.0)
    finally:
        task.pop_request()


def entries(path: Path) -> list[tuple[int, str]]:
    """Unit and state of each line."""
    return [(line["unit"], line["state"]) for line in map(json.loads, path.read_text().splitlines())]


def test_a_ledger_is_never_written_over(tmp_path: Path) -> None:
    LedgerFile(tmp_path / "run.jsonl")
    with pytest.raises(FileExistsError):
        LedgerFile(tmp_path / "run.jsonl")


def test_each_line_is_on_the_disk_before_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    ledger = LedgerFile(tmp_path / "run.jsonl")
    path = tmp_path / "run.jsonl"
    monkeypatch.setattr(os, "fdatasync", lambda _: synced.append(len(path.read_text().splitlines())))
    ledger.enter(1.0, 1, "work", "celery", "attempted")
    ledger.enter(1.1, 1, "work", "celery", "confirmed")
    assert synced == [1, 2]
    assert (ledger.count("attempted"), ledger.count("confirmed"), ledger.count("unknown")) == (1, 1, 0)


class Broker:
    """Takes batches; every third one is not confirmed."""

    def __init__(self) -> None:
        self.batches: list[Sequence[TaskCall]] = []

    def take(self, calls: Sequence[TaskCall]) -> None:
        self.batches.append(calls)
        if len(self.batches) % 3 == 0:
            raise OSError("connection reset")


def commands(*lines: dict[str, object], after: float = 0.4) -> Iterator[str]:
    """What ./lab would write to stdin."""
    time.sleep(after)
    yield from map(json.dumps, lines)
    time.sleep(0.1)


@pytest.mark.parametrize("batch", [1, 5])
def test_load_enters_what_it_publishes(
    app: Celery, tmp_path: Path, capsys: pytest.CaptureFixture[str], batch: int
) -> None:
    path, broker = tmp_path / "run.jsonl", Broker()
    load = Load(Plan(RUN, 50 * batch, 0.0, 30), LedgerFile(path), {"window": Publisher(broker.take, batch)})
    load.serve(commands({"publish": "poison"}, {"stop": True}))
    calls = [call for calls in broker.batches for call in calls]
    written = entries(path)
    assert len(broker.batches) >= 5
    assert {len(calls) for calls in broker.batches} == {1, batch}
    attempted = [unit for unit, state in written if state == "attempted"]
    assert sorted(attempted) == list(range(1, len(calls) + 1))
    unknown = {unit for unit, state in written if state == "unknown"}
    assert unknown == {call.args[1] for calls in broker.batches[2::3] for call in calls}
    assert {unit for unit, state in written if state == "confirmed"} == set(attempted) - unknown
    assert {call.task for call in calls} == {"mosaic.drill.work", "mosaic.drill.poison"}
    assert all(call.task_id == f"{RUN}-{call.args[1]}" for call in calls)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[0]["event"] == "started"
    assert "published" in {event["event"] for event in events}


def test_a_batch_is_attempted_before_it_is_sent_and_confirmed_when_the_last_one_is(
    app: Celery, tmp_path: Path
) -> None:
    path = tmp_path / "run.jsonl"
    seen: list[list[tuple[int, str]]] = []
    publisher = Publisher(lambda _calls: seen.append(entries(path)), 3)
    Load(Plan(RUN, 1, 0.0, 30), LedgerFile(path), {"window": publisher}).serve(commands())
    assert seen == [[(unit, "attempted") for unit in (1, 2, 3)]]
    assert entries(path)[3:] == [(unit, "confirmed") for unit in (1, 2, 3)]
    times = [json.loads(line)["at"] for line in path.read_text().splitlines()]
    assert len(set(times[3:])) == 1


def test_the_window_sends_a_batch_as_one(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    published: list[Sequence[TaskCall]] = []
    monkeypatch.setattr("mosaic.drill.load.publish", lambda _app, calls: published.append(calls))
    publisher = publishers()["window"]
    assert publisher.batch > 1
    calls = [TaskCall("mosaic.drill.work", (RUN, unit, 0.0), f"{RUN}-{unit}") for unit in (1, 2)]
    publisher.send(calls)
    assert published == [calls]


def test_only_the_runs_own_dead_letters_are_taken(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = ["another-drill-3", "0f8fad5b-d9cb-469f-a165-70867728950e", f"{RUN}-more-4"]
    ids = [f"{RUN}-12", *foreign, f"{RUN}-13"]
    broker = FakeBroker(*((properties(own_id, queue="mosaic.drill", count=1), b"") for own_id in ids))
    monkeypatch.setattr("mosaic.service.connect", lambda *_, **__: nullcontext(broker))
    result = CliRunner().invoke(main, ["drill", "dead", RUN])
    assert result.exit_code == 0, result.output
    died = {"reason": "delivery_limit", "queue": "mosaic.drill", "count": 1}
    assert json.loads(result.stdout) == [{"unit": 12, **died}, {"unit": 13, **died}]
    assert [one[0].headers["id"] for one in broker.messages] == foreign
