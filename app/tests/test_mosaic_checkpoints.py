"""Progress inside a part: reported, resumed, cancelled; of two simultaneous attempts the latest counts."""

from __future__ import annotations

import datetime
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from celery import Celery, shared_task
from celery.exceptions import Retry, SoftTimeLimitExceeded
from conftest import RecordingPublisher
from fastapi.testclient import TestClient
from mosaic.config import Upkeep
from mosaic.gateway.jobs.stream import JobFollower
from mosaic.ledger import jobs, upkeep, work
from mosaic.ledger.database import transaction
from mosaic.ledger.jobs import JobPlan, PlannedPart
from mosaic.ledger.models import Attempt, Job, Part
from mosaic.ledger.work import AttemptOverError, PartWork, Product, Runner
from mosaic.tasks.base import NICE, LongPartTask
from sqlalchemy import select, text, update
from sqlalchemy.exc import OperationalError

COUNT = "test.count"
STEPS = 40
PIECE_SECONDS = 0.05


@shared_task(bind=True, base=LongPartTask, name=COUNT)
def count(self: LongPartTask, part: PartWork) -> Product:
    """Count to STEPS, with a pause at each."""
    for step in range((part.checkpoint or {"step": 0})["step"], STEPS):
        time.sleep(PIECE_SECONDS)
        self.checkpoint(part, (step + 1) / STEPS, {"step": step + 1})
    return Product(result={"steps": STEPS})


@pytest.fixture
def job(app: Celery) -> uuid.UUID:
    """Enter a job of two such parts."""
    plan = JobPlan("test", {}, [PlannedPart(COUNT, {}), PlannedPart(COUNT, {})])
    with transaction() as session:
        return jobs.enter(session, plan)[0]


def runner(host: str = "worker-1") -> Runner:
    """Return a runner on a host."""
    return Runner(str(uuid.uuid4()), COUNT, host, 42)


def begin(job: uuid.UUID, host: str = "worker-1") -> PartWork:
    """Begin an attempt at the first part."""
    with transaction() as session:
        part = work.begin(session, runner(host), job, 0)
    assert part is not None
    return part


def report(part: PartWork, fraction: float) -> None:
    """Report a fraction, and a checkpoint with the same value."""
    with transaction() as session:
        work.report(session, part, fraction, {"at": fraction})


def stored(job: uuid.UUID) -> Part:
    """Return the first part."""
    with transaction() as session:
        part = session.get(Part, (job, 0))
    assert part is not None
    return part


def attempts(job: uuid.UUID) -> list[Attempt]:
    """Return the job's attempts in order."""
    with transaction() as session:
        return list(session.scalars(select(Attempt).where(Attempt.job_id == job).order_by(Attempt.id)))


def started_long_ago() -> None:
    """Move the start of every part into the past."""
    long_ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=5)
    with transaction() as session:
        session.execute(update(Part).values(started_at=long_ago))


def test_progress_is_in_the_api_and_in_the_stream(job: uuid.UUID, client: TestClient) -> None:
    follower = JobFollower(job, None)
    part = begin(job)
    started_long_ago()
    before = follower.read()
    assert before is not None
    assert before[0].data[0].progress is None
    report(part, 0.5)
    parts, summary = follower.read() or []
    assert [(one.part, one.progress) for one in parts.data] == [(0, 0.5)]
    assert (summary.kind, summary.data.progress, summary.data.done) == ("job", 0.25, 0)
    shown = client.get(f"/api/jobs/{job}").json()
    assert (shown["progress"], shown["parts"][0]["progress"], shown["parts"][1]["progress"]) == (
        0.25,
        0.5,
        None,
    )
    assert shown["parts"][0]["reported"] > shown["parts"][0]["started"]
    assert client.get("/api/jobs").json()["jobs"][0]["progress"] == 0.25
    with transaction() as session:
        work.finish(session, part, runner(), Product(result={}))
    shown = client.get(f"/api/jobs/{job}").json()
    assert (shown["progress"], shown["parts"][0]["progress"], shown["done"]) == (0.5, 1.0, 1)
    assert client.get("/api/jobs").json()["jobs"][0]["progress"] == 0.5
    assert stored(job).checkpoint is None, "a done part needs none"


def test_stream_after_a_cut_has_what_was_reported_meanwhile(job: uuid.UUID) -> None:
    part = begin(job)
    start = JobFollower(job, None).read()
    assert start is not None
    started_long_ago()
    report(part, 0.5)
    again = JobFollower(job, datetime.datetime.fromisoformat(str(start[-1].id))).read()
    assert again is not None
    assert 0 in [one.part for one in again[0].data]


def test_next_attempt_resumes_and_says_how_much_it_computes_again(job: uuid.UUID, client: TestClient) -> None:
    first = begin(job, "worker-1")
    assert first.checkpoint is None
    report(first, 0.5)
    time.sleep(0.3)
    second = begin(job, "worker-2")
    assert second.checkpoint == {"at": 0.5}
    # It ends before it has reported: nothing of it is left, and the checkpoint is still that of the first.
    with transaction() as session:
        ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=90)
        session.execute(update(Part).where(Part.index == 0).values(reported_at=ago, started_at=ago))
    third = begin(job, "worker-3")
    assert third.checkpoint == {"at": 0.5}
    lost, early, late = attempts(job)
    assert (lost.outcome, lost.began, lost.again) == ("lost", None, None)
    assert early.began == late.began == 0.5
    assert 0.3 <= (early.again or 0) < 1.5
    assert late.again == work.MOST_LOST_SECONDS, "a task reports each second: it cannot have lost more"
    shown = client.get(f"/api/jobs/{job}/attempts").json()["attempts"]
    assert [(one["host"], one["began"]) for one in shown] == [
        ("worker-3", 0.5),
        ("worker-2", 0.5),
        ("worker-1", None),
    ]


def test_attempt_that_was_cut_off_cannot_set_back_its_successor(job: uuid.UUID) -> None:
    cut_off = begin(job, "worker-1")
    report(cut_off, 0.5)
    successor = begin(job, "worker-2")
    with pytest.raises(AttemptOverError):
        report(cut_off, 0.6)
    assert stored(job).progress == 0.5
    report(successor, 0.7)
    with pytest.raises(AttemptOverError):
        report(cut_off, 0.65)
    assert (stored(job).progress, stored(job).checkpoint) == (0.7, {"at": 0.7})


def test_report_that_waits_for_a_beginning_attempt_comes_too_late(job: uuid.UUID) -> None:
    cut_off = begin(job, "worker-1")
    with ThreadPoolExecutor(1) as pool:
        with transaction() as session:
            work.begin(session, runner("worker-2"), job, 0)
            session.flush()
            late = pool.submit(report, cut_off, 0.5)
            time.sleep(0.2)
            assert not late.done()
        with pytest.raises(AttemptOverError):
            late.result(timeout=5)
    assert stored(job).progress is None


def test_part_that_was_revived_is_no_longer_that_of_its_old_attempt(job: uuid.UUID) -> None:
    """Though its attempts are counted from the beginning."""
    old = begin(job)
    report(old, 0.5)
    with transaction() as session:
        work.give_up(session, job, 0, "dropped")
    with pytest.raises(AttemptOverError):
        report(old, 0.6)
    with transaction() as session:
        work.revive(session, job, 0)
    fresh = begin(job)
    assert fresh.checkpoint == {"at": 0.5}
    with pytest.raises(AttemptOverError):
        report(old, 0.6)
    report(fresh, 0.6)


@pytest.mark.parametrize("first", ["cut off", "successor"])
def test_effect_is_had_once_whichever_of_two_attempts_ends_first(job: uuid.UUID, first: str) -> None:
    cut_off = begin(job, "worker-1")
    report(cut_off, 0.5)
    successor = begin(job, "worker-2")
    order = [(cut_off, "worker-1"), (successor, "worker-2")]
    for part, host in order if first == "cut off" else reversed(order):
        with transaction() as session:
            work.finish(session, part, runner(host), Product(result={"host": host}))
    with transaction() as session:
        results = session.scalars(select(Part.result).where(Part.index == 0)).all()
        assert results == [{"host": "worker-1" if first == "cut off" else "worker-2"}]
        assert jobs.find(session, job).done == 1  # type: ignore[union-attr]
    with pytest.raises(AttemptOverError):
        report(successor, 0.9)
    assert sorted(str(one.outcome) for one in attempts(job)) == ["done", "duplicate"]


def swept() -> list[int]:
    """Sweep; return the parts that were published again."""
    with transaction() as session:
        calls, _ = upkeep.sweep(session, Upkeep(running_seconds=30), lambda _task: False)
    return [call.args[1] for call in calls]


def test_sweep_leaves_a_part_alone_for_as_long_as_it_reports(job: uuid.UUID) -> None:
    ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=600)
    part = begin(job)
    with transaction() as session:
        session.execute(update(Part).where(Part.index == 0).values(started_at=ago, published_at=ago))
    assert swept() == [0], "for it has reported nothing"
    with transaction() as session:
        session.execute(update(Part).where(Part.index == 0).values(published_at=ago))
    report(part, 0.5)
    assert swept() == []
    with transaction() as session:
        session.execute(update(Part).where(Part.index == 0).values(reported_at=ago))
    assert swept() == [0]


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a list that collects the fractions that reach the ledger."""
    found: list[float] = []
    keep = work.report

    def note(session: Any, part: PartWork, fraction: float, state: dict[str, Any]) -> None:
        found.append(fraction)
        keep(session, part, fraction, state)

    monkeypatch.setattr("mosaic.ledger.work.report", note)
    return found


def test_task_reports_at_once_and_then_once_a_second(
    app: Celery, job: uuid.UUID, reports: list[float]
) -> None:
    assert app.tasks[COUNT].apply(args=(str(job), 0)).state == "SUCCESS"
    assert reports[0] == 1 / STEPS
    assert 2 <= len(reports) <= 3, "it ran for two seconds"
    assert (stored(job).state, stored(job).result) == ("done", {"steps": STEPS})


@pytest.fixture
def running(app: Celery, job: uuid.UUID, reports: list[float]) -> Iterator[threading.Thread]:
    """Yield the thread in which the task runs, once it has reported."""
    thread = threading.Thread(target=lambda: app.tasks[COUNT].apply(args=(str(job), 0)))
    thread.start()
    while not reports:
        time.sleep(0.01)
    yield thread
    thread.join(timeout=10)


def test_cancelled_part_ends_within_two_seconds_and_has_no_effect(
    client: TestClient, job: uuid.UUID, running: threading.Thread
) -> None:
    assert client.post(f"/api/jobs/{job}/cancel").json()["state"] == "cancelled"
    cancelled = time.monotonic()
    running.join(timeout=5)
    assert time.monotonic() - cancelled < 1.5
    assert not running.is_alive()
    assert [one.outcome for one in attempts(job)] == ["discarded"]
    part = stored(job)
    assert (part.state, part.result) == ("cancelled", None)
    assert part.progress == 1 / STEPS, "what was done stays to be seen"


def test_attempt_that_another_took_over_ends_by_itself(job: uuid.UUID, running: threading.Thread) -> None:
    successor = begin(job, "worker-2")
    running.join(timeout=5)
    assert not running.is_alive()
    assert [one.outcome for one in attempts(job)] == ["lost", None]
    report(successor, 0.9)


@pytest.mark.parametrize(
    "cause", [OperationalError("UPDATE", {}, ConnectionError("gone")), SoftTimeLimitExceeded()], ids=repr
)
def test_absent_database_and_time_limit_interrupt_a_part_which_then_resumes(
    app: Celery, job: uuid.UUID, monkeypatch: pytest.MonkeyPatch, cause: Exception
) -> None:
    keep, fractions = work.report, iter((1, 0))

    def interrupted_once(*arguments: Any) -> None:
        if next(fractions, 1) == 0:
            raise cause
        keep(*arguments)

    monkeypatch.setattr("mosaic.ledger.work.report", interrupted_once)
    task = app.tasks[COUNT]
    monkeypatch.setattr(task, "retry", lambda exc, **_: Retry(exc=exc))
    task.push_request(id="x", retries=0, delivery_info={})
    with pytest.raises(Retry):
        task(str(job), 0)
    task(str(job), 0)
    task.pop_request()
    put_off, resumed = attempts(job)
    assert (put_off.outcome, resumed.outcome, resumed.began) == ("retried", "done", 1 / STEPS)


def test_long_parts_leave_the_processors_to_short_work(
    app: Celery, job: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr("os.setpriority", lambda _which, who, nice: asked.append((who, nice)))
    with transaction() as session:
        work.cancel(session, job)
    app.tasks[COUNT].apply(args=(str(job), 0))
    assert asked == [], "not outside a pool process: that may be a web server"
    monkeypatch.setattr("mosaic.tasks.base.is_pool_process", lambda: True)
    app.tasks[COUNT].apply(args=(str(job), 0))
    assert asked == [(0, NICE)]


def test_long_parts_have_limits_of_their_own(app: Celery, publisher: RecordingPublisher) -> None:
    task = app.tasks[COUNT]
    assert app.conf.task_time_limit < task.soft_time_limit < task.time_limit
    assert app.tasks["mosaic.render.tile"].time_limit == app.conf.task_time_limit


def test_an_attempt_begins_while_somebody_holds_its_job(job: uuid.UUID) -> None:
    """As a cancel does, which then waits for the part: the two would wait for each other."""
    with transaction() as holder, transaction() as session:
        holder.execute(select(Job).where(Job.id == job).with_for_update())
        session.execute(text("SET LOCAL lock_timeout = '2s'"))
        assert work.begin(session, runner(), job, 0) is not None
