"""A part whose pool process died twice fails; attempts that were lost with their worker do not count."""

from __future__ import annotations

import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from billiard.exceptions import WorkerLostError
from celery import Celery
from celery.worker.request import Request
from mosaic.config import Config
from mosaic.ledger import jobs, work
from mosaic.ledger.database import transaction
from mosaic.ledger.jobs import JobPlan, JobView, PlannedPart
from mosaic.ledger.models import Attempt
from mosaic.ledger.work import PartWork, Runner
from mosaic.worker.request import PartRequest
from sqlalchemy import select

TASK = "mosaic.render.tile"


@pytest.fixture
def job(config: Config) -> uuid.UUID:
    """Return a job of one part."""
    with transaction() as session:
        return jobs.enter(session, JobPlan("render", {}, [PlannedPart(TASK, {})]))[0]


@pytest.fixture
def requeued(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the ids of requests that reached Celery's own handling."""
    seen: list[str] = []
    monkeypatch.setattr(Request, "on_failure", lambda self, *_: seen.append(self.id))
    return seen


def begin(job: uuid.UUID, task_id: str = "x") -> PartWork | None:
    """Start an attempt at the part."""
    with transaction() as session:
        return work.begin(session, Runner(task_id, TASK, "worker-1", 1), job, 0)


def die(job: uuid.UUID, error: Exception, task_id: str = "x", cancelled: bool = False) -> None:
    """Let the worker notice the end of the attempt's process."""
    request: Any = PartRequest.__new__(PartRequest)
    request.id, request._args, request._already_cancelled = task_id, (str(job), 0), cancelled
    request.on_failure(SimpleNamespace(exception=error))


def killed(signal: str = "signal 9 (SIGKILL)") -> WorkerLostError:
    """Return what the pool reports of a dead process."""
    return WorkerLostError(f"Worker exited prematurely: {signal} Job: 3.")


def show(job: uuid.UUID) -> JobView:
    """Return the job."""
    with transaction() as session:
        view = jobs.find(session, job)
    assert view is not None
    return view


def outcomes() -> list[tuple[str | None, str | None]]:
    """Return outcome and error of all attempts."""
    with transaction() as session:
        return [(one.outcome, one.error) for one in session.scalars(select(Attempt).order_by(Attempt.id))]


def test_second_death_fails_the_part_with_a_sentence(job: uuid.UUID, requeued: list[str]) -> None:
    begin(job)
    die(job, killed())
    assert (show(job).state, requeued) == ("running", ["x"])
    assert begin(job) is not None
    die(job, killed())
    sentence = (
        "its pool process ended twice (signal 9 (SIGKILL)); it may need more memory than its worker has"
    )
    assert (show(job).state, show(job).error) == ("failed", f"part 0: {sentence}")
    assert show(job).parts[0].error == sentence
    # Its message returns to the queue once more, and is discarded.
    assert begin(job) is None
    lost = ("lost", "its pool process ended: signal 9 (SIGKILL)")
    assert outcomes() == [lost, lost, ("discarded", None)]


def test_lost_workers_and_cancelled_attempts_do_not_count(job: uuid.UUID, requeued: list[str]) -> None:
    for _ in range(3):
        begin(job)  # the worker of the attempt before is gone
    die(job, killed())
    for error in (killed("signal 15 (SIGTERM)"), killed("exitcode 143"), ValueError("signal 9 (SIGKILL)")):
        begin(job)
        die(job, error)
    die(job, killed(), cancelled=True)
    assert show(job).state == "running"
    assert len(requeued) == 5


def test_retried_part_has_two_attempts_again(job: uuid.UUID, requeued: list[str]) -> None:
    for _ in range(2):
        begin(job)
        die(job, killed())
    with transaction() as session:
        work.revive(session, job, 0)
    begin(job)
    die(job, killed())
    assert show(job).state == "running"


def test_absent_database_delays_nothing(
    job: uuid.UUID, requeued: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import psycopg

    def away(*_: object) -> None:
        raise psycopg.OperationalError("gone")

    monkeypatch.setattr(work, "lose", away)
    die(job, killed())
    assert requeued == ["x"]


def test_parts_have_this_request(app: Celery) -> None:
    names = [name for name, task in app.tasks.items() if "PartRequest" in str(task.Request)]
    assert {TASK, "mosaic.scale.size", "mosaic.digest.merge", "mosaic.primes.count"} <= set(names)
    assert "mosaic.drill.poison" not in names


def test_memory_error_does_not_reach_the_worker(
    app: Celery, job: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(app.tasks[TASK], "run", run)
    result = app.tasks[TASK].apply(args=(str(job), 0))
    assert isinstance(result.result, RuntimeError)
    assert show(job).state == "failed"
