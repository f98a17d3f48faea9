"""The ledger: its schema, the life of an attempt, duplicates, the sweep."""

from __future__ import annotations

import datetime
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from celery import Celery
from celery.backends.database import models as celery_models
from mosaic.config import Config, Upkeep
from mosaic.ledger import jobs, log_records, periodic, quick, upkeep, work
from mosaic.ledger.database import transaction
from mosaic.ledger.jobs import JobPlan, PlannedPart
from mosaic.ledger.models import Attempt, Base, Job, Part
from mosaic.ledger.work import Product, Runner
from mosaic.migrate import migrate
from sqlalchemy import Engine, select, text, update
from sqlalchemy.exc import ProgrammingError

pytestmark = pytest.mark.usefixtures("config")

TILE = Product(role="tile", content_type="image/png", data=b"png")
RULES = Upkeep(accepted_seconds=20, running_seconds=330, max_attempts=3)


def runner(host: str = "worker-1", task_id: str | None = None) -> Runner:
    """Return a runner with a task id of its own."""
    return Runner(task_id or str(uuid.uuid4()), "mosaic.render.tile", host, 42)


def enter(parts: int = 2, joins: bool = False) -> uuid.UUID:
    """Enter a job with `parts` parts, the last one joining if asked."""
    planned = [
        PlannedPart("mosaic.render.tile", {}, joins=joins and index == parts - 1) for index in range(parts)
    ]
    with transaction() as session:
        job_id, _ = jobs.enter(session, JobPlan("render", {}, planned))
    return job_id


def do(job_id: uuid.UUID, index: int, who: Runner | None = None, product: Product = TILE) -> Any:
    """Do a part as a task does; return what is due next, or None when there was nothing to do."""
    who = who or runner()
    part = quick.begin(who, job_id, index)
    if part is None or not quick.finish(part, who, product):
        with transaction() as session:
            due = work.advance(session, job_id)
        return due if part else None
    return []


def show(job_id: uuid.UUID) -> jobs.JobView:
    """Return the job with its parts."""
    with transaction() as session:
        view = jobs.find(session, job_id)
    assert view is not None
    return view


def outcomes(job_id: uuid.UUID) -> list[str | None]:
    """Return the outcomes of the job's attempts in order."""
    with transaction() as session:
        return list(
            session.scalars(select(Attempt.outcome).where(Attempt.job_id == job_id).order_by(Attempt.id))
        )


def test_migration_makes_what_the_models_say(owner_engine: Engine) -> None:
    with owner_engine.connect() as connection:
        options = {"compare_type": True}
        context = MigrationContext.configure(connection, opts=options)
        results: Any = celery_models.Task
        metadata: Any = [Base.metadata, results.metadata]
        assert compare_metadata(context, metadata) == []


def test_second_migration_changes_nothing(owner_engine: Engine) -> None:
    assert migrate(owner_engine) == ("0007", False)


def test_application_role_may_not_create(config: Config) -> None:
    with pytest.raises(ProgrammingError, match="permission denied"), transaction() as session:
        session.execute(text("CREATE TABLE intruder (id int)"))


def test_celery_stores_results_without_creating_tables(app: Celery) -> None:
    app.backend.store_result("task-1", {"edge": 64}, "SUCCESS")
    assert app.AsyncResult("task-1").get(timeout=1) == {"edge": 64}


def test_job_is_done_when_its_parts_are() -> None:
    job_id = enter(2)
    do(job_id, 0, runner("worker-1"))
    assert (show(job_id).state, show(job_id).done) == ("running", 1)
    do(job_id, 1, runner("worker-2"))
    view = show(job_id)
    assert (view.state, view.done, view.total) == ("done", 2, 2)
    assert view.by_host == {"worker-1": 1, "worker-2": 1}
    assert [part.attempts for part in view.parts] == [1, 1]
    assert outcomes(job_id) == ["done", "done"]


def test_redelivery_after_the_end_changes_nothing() -> None:
    job_id = enter(1)
    do(job_id, 0, runner("worker-1"))
    before = show(job_id)
    assert do(job_id, 0, runner("worker-2")) is None
    after = show(job_id)
    assert (after.by_host, after.parts, after.seconds) == (before.by_host, before.parts, before.seconds)
    assert outcomes(job_id) == ["done", "duplicate"]


def test_two_attempts_at_once_have_one_effect() -> None:
    job_id = enter(1)
    first, second = runner("worker-1"), runner("worker-2")
    with transaction() as session:
        early = work.begin(session, first, job_id, 0)
    with transaction() as session:
        late = work.begin(session, second, job_id, 0)
    assert early is not None
    assert late is not None
    with transaction() as session:
        work.finish(session, late, second, TILE)
    with transaction() as session:
        work.finish(session, early, first, Product(role="tile", content_type="image/png", data=b"other"))
    view = show(job_id)
    assert view.by_host == {"worker-2": 1}
    assert view.parts[0].attempts == 2
    with transaction() as session:
        assert jobs.blobs(session, job_id, "tile") == [(0, b"png", "worker-2")]
    assert outcomes(job_id) == ["duplicate", "done"]


def test_attempt_of_a_lost_process_is_marked_when_the_next_begins() -> None:
    job_id = enter(1)
    with transaction() as session:
        work.begin(session, runner("worker-1"), job_id, 0)
    do(job_id, 0, runner("worker-2"))
    assert outcomes(job_id) == ["lost", "done"]


def test_last_parts_ending_at_once_end_the_job() -> None:
    for _ in range(10):
        job_id = enter(4)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda index, job_id=job_id: do(job_id, index), range(4)))
        assert show(job_id).state == "done"


def test_joining_part_is_due_once() -> None:
    job_id = enter(4, joins=True)
    with ThreadPoolExecutor(3) as pool:
        due = list(pool.map(lambda index: do(job_id, index), range(3)))
    assert sorted(map(list, due)) == [[], [], [("mosaic.render.tile", 3)]]
    assert show(job_id).state == "running"
    assert do(job_id, 3) == []
    assert show(job_id).state == "done"


def test_failure_ends_part_and_job_with_its_error() -> None:
    job_id = enter(2)
    with transaction() as session:
        part = work.begin(session, runner(), job_id, 1)
        assert part is not None
        work.fail(session, part, "the picture is damaged")
    do(job_id, 0)
    view = show(job_id)
    assert (view.state, view.error) == ("failed", "part 1: the picture is damaged")
    assert [part.state for part in view.parts] == ["done", "failed"]
    assert do(job_id, 1) is None
    assert outcomes(job_id) == ["failed", "done", "discarded"]


def test_task_of_a_withdrawn_job_ends_quietly() -> None:
    job_id = enter(1)
    who = runner()
    with transaction() as session:
        part = work.begin(session, who, job_id, 0)
    with transaction() as session:
        jobs.withdraw(session, job_id)
    assert part is not None
    quick.finish(part, who, TILE)
    assert do(job_id, 0) is None
    with transaction() as session:
        assert session.scalars(select(Job)).all() == []


def age(job_id: uuid.UUID, seconds: float, **values: Any) -> None:
    """Move a job's parts into the past."""
    then = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=seconds)
    with transaction() as session:
        session.execute(
            update(Part).where(Part.job_id == job_id).values(published_at=then, started_at=then, **values)
        )


def swept(queue_empty: bool = True, rules: Upkeep = RULES) -> tuple[list[int], int]:
    """Sweep; return the indexes to publish again and how many parts gave up."""
    with transaction() as session:
        calls, gave_up = upkeep.sweep(session, rules, lambda _task: queue_empty)
    return sorted(call.args[1] for call in calls), gave_up


def test_sweep_publishes_what_was_never_published() -> None:
    job_id = enter(3)
    assert swept() == ([], 0)
    age(job_id, 25)
    assert swept(queue_empty=False) == ([], 0)
    assert swept() == ([0, 1, 2], 0)
    assert swept() == ([], 0)


def test_sweep_loses_patience_with_a_queue_that_is_never_empty() -> None:
    job_id = enter(1)
    age(job_id, upkeep.PATIENCE_SECONDS + 10)
    assert swept(queue_empty=False) == ([0], 0)


def test_sweep_leaves_a_joining_part_until_its_others_are_done() -> None:
    job_id = enter(2, joins=True)
    age(job_id, 25)
    assert swept() == ([0], 0)
    do(job_id, 0)
    age(job_id, 25)
    assert swept() == ([1], 0)


def test_sweep_takes_up_a_part_whose_worker_vanished() -> None:
    job_id = enter(1)
    age(job_id, 300, state="running", attempts=1)
    assert swept(queue_empty=False) == ([], 0)
    age(job_id, 340)
    assert swept(queue_empty=False) == ([0], 0)


@pytest.mark.parametrize("values", [{}, {"state": "running", "attempts": 1}])
def test_sweep_finds_lost_parts_after_the_clock_was_set_back(values: dict[str, Any]) -> None:
    job_id = enter(1)
    age(job_id, -3600, **values)
    assert swept() == ([0], 0)
    assert swept() == ([], 0)


def test_sweep_gives_up_on_a_part_that_kills_its_workers() -> None:
    job_id = enter(2)
    age(job_id, 340, state="running", attempts=3)
    assert swept() == ([], 2)
    view = show(job_id)
    assert view.state == "failed"
    assert "gave up after 3 attempts" in str(view.error)


def test_sweep_ignores_jobs_that_ended() -> None:
    job_id = enter(2)
    with transaction() as session:
        part = work.begin(session, runner(), job_id, 0)
        assert part is not None
        work.fail(session, part, "no")
    age(job_id, 1000)
    assert swept() == ([], 0)


def test_one_sweep_at_a_time() -> None:
    job_id = enter(1)
    age(job_id, 25)
    with transaction() as session:
        session.execute(select(text(f"pg_advisory_xact_lock({upkeep.SWEEP_LOCK})")))
        assert swept() == ([], 0)
    assert swept() == ([0], 0)


def test_only_the_latest_run_of_a_periodic_task_is_kept() -> None:
    def begin(task_id: str, host: str) -> Runner:
        runner = Runner(task_id, periodic.TICK, host, 42)
        with transaction() as session:
            periodic.begin(session, runner, "gateway-1")
        return runner

    def latest() -> periodic.Run:
        with transaction() as session:
            return periodic.latest(session)[periodic.TICK]

    first = begin("tick-1", "worker-1")
    second = begin("tick-2", "worker-2")
    with transaction() as session:
        periodic.end(session, first, "failed", "too late to be told")
    run = latest()
    assert (run.host, run.beat_host, run.outcome, run.seconds) == ("worker-2", "gateway-1", None, None)
    assert 0 <= run.age < 5
    with transaction() as session:
        periodic.end(session, second, "done", "")
    assert (latest().outcome, latest().error) == ("done", None)


def test_purge_keeps_a_limited_number_of_log_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "KEEP_LOG_RECORDS", 3)
    now = datetime.datetime.now(datetime.UTC)
    with transaction() as session:
        for number in range(5):
            log_records.store(session, [log_records.Entry(f"m{number}", "w", 6, "u", "text", now)])
    with transaction() as session:
        assert upkeep.purge(session, Upkeep()) == 2
        assert [found.message_id for found in log_records.latest(session, 10)] == ["m4", "m3", "m2"]


def test_purge_removes_what_is_old_and_ended() -> None:
    ended, running, young = enter(1), enter(1), enter(1)
    do(ended, 0)
    then = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=8)
    with transaction() as session:
        session.execute(update(Job).where(Job.id.in_([ended, running])).values(created_at=then))
    with transaction() as session:
        assert upkeep.purge(session, Upkeep()) == 1
    with transaction() as session:
        assert set(session.scalars(select(Job.id))) == {running, young}
        assert session.scalars(select(Attempt)).all() == []
