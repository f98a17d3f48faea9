"""Attempts in few round trips: what they cost, and what happens when they meet at one part or one job."""

from __future__ import annotations

import random
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from celery import Celery
from mosaic.config import Config, Upkeep
from mosaic.ledger import jobs, quick, upkeep, work
from mosaic.ledger.database import DATABASE_AWAY, connection, transaction
from mosaic.ledger.jobs import JobPlan, PlannedPart, TaskCall
from mosaic.ledger.models import Attempt, Job, Part
from mosaic.ledger.work import PartWork, Product, Runner
from sqlalchemy import func, select, text, update

pytestmark = pytest.mark.usefixtures("config")

TILE = Product(role="tile", content_type="image/png", data=b"png")
SHARD, MERGE = "mosaic.digest.shard", "mosaic.digest.merge"
TIMEOUT_SECONDS = 20


def runner(host: str = "worker-1") -> Runner:
    """Return a runner with a task id of its own."""
    return Runner(str(uuid.uuid4()), "mosaic.render.tile", host, 42)


def enter(parts: int, joins: bool = False) -> uuid.UUID:
    """Enter a job of `parts` parts, and one that joins them if asked."""
    planned = [PlannedPart(SHARD, {"n": index}) for index in range(parts)]
    with transaction() as session:
        return jobs.enter(
            session, JobPlan("test", {"a": 1}, [*planned, *[PlannedPart(MERGE, {}, joins=True)] * joins])
        )[0]


def begin(job: uuid.UUID, index: int = 0, host: str = "worker-1") -> PartWork:
    """Begin an attempt that has something to do."""
    part = quick.begin(runner(host), job, index)
    assert part is not None
    return part


def do(job: uuid.UUID, index: int, product: Product = TILE) -> list[tuple[str, int]]:
    """Do a part as a task does; return the joining part that this attempt has to publish."""
    who = runner()
    part = quick.begin(who, job, index)
    if part is None or not quick.finish(part, who, product):
        with transaction() as session:
            return work.advance(session, job)
    return []


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """Run functions in threads that start together; return their results. Raises what one of them raises."""
    start = threading.Barrier(len(acts))

    def run(act: Callable[[], Any]) -> Any:
        start.wait()
        return act()

    with ThreadPoolExecutor(len(acts)) as pool:
        return [future.result(TIMEOUT_SECONDS) for future in [pool.submit(run, act) for act in acts]]


def show(job: uuid.UUID) -> jobs.JobView:
    """Return the job with its parts."""
    with transaction() as session:
        view = jobs.find(session, job)
    assert view is not None
    return view


def outcomes(job: uuid.UUID) -> list[str | None]:
    """Return the outcomes of the job's attempts in order."""
    with transaction() as session:
        return list(
            session.scalars(select(Attempt.outcome).where(Attempt.job_id == job).order_by(Attempt.id))
        )


def messages(act: Callable[[], Any], path: Path) -> Counter[str]:
    """Return how often `act` sends and receives each message of PostgreSQL's protocol."""
    with path.open("wb") as file:
        with connection() as own:
            own.pgconn.trace(file.fileno())
        act()
        with connection() as again:
            assert again is own, "the pool keeps it"
            again.pgconn.untrace()
    return Counter(line.split("\t")[3] for line in path.read_text().splitlines())


def test_a_part_needs_one_round_trip_to_begin_and_one_to_end(tmp_path: Path) -> None:
    """Each with prepared statements, and without a ping."""
    job = enter(20)
    for index in range(10):  # psycopg prepares a statement when it is used the fifth time
        quick.finish(begin(job, index), runner(), TILE)
    found: list[PartWork] = []
    acts: dict[int, Callable[[], object]] = {
        1: lambda: found.append(begin(job, 10)),
        4: lambda: quick.finish(found[0], runner(), TILE),  # with BEGIN and COMMIT
    }
    for number, act in acts.items():
        sent = messages(act, tmp_path / str(number))
        assert (sent["Bind"], sent["Execute"]) == (number, number)
        assert (sent["Sync"], sent["ReadyForQuery"]) == (1, 1), "PostgreSQL answers once"
        assert sent["Parse"] == sent["Query"] == 0


def test_begin_returns_parameters_and_stores_the_attempt() -> None:
    job = enter(1)
    who = Runner("task-7", SHARD, "worker-2", 77, redelivered=True)
    part = quick.begin(who, job, 0)
    assert part is not None
    assert (part.params, part.job_params, part.checkpoint) == ({"n": 0}, {"a": 1}, None)
    with transaction() as session:
        attempt = session.scalars(select(Attempt)).one()
        stored = session.get(Part, (job, 0))
    assert stored is not None
    assert (attempt.id, attempt.job_id, attempt.index, attempt.number) == (part.attempt, job, 0, 1)
    assert {name: getattr(attempt, name) for name in vars(who)} == vars(who)
    assert (attempt.outcome, attempt.ended_at) == (None, None)
    assert (stored.state, stored.attempts, stored.latest_attempt) == ("running", 1, part.attempt)
    assert (stored.host, stored.pid) == ("worker-2", 77)
    assert stored.started_at is not None


@pytest.mark.parametrize("product", [TILE, Product(result={"n": 1})], ids=["blob", "result"])
def test_finish_stores_the_product_and_ends_the_attempt(product: Product) -> None:
    job = enter(2)
    part = begin(job)
    assert quick.finish(part, runner("worker-1"), product), "another part is open"
    with transaction() as session:
        stored = session.get(Part, (job, 0))
        assert jobs.blobs(session, job, "tile") == ([(0, b"png", "worker-1")] if product is TILE else [])
    assert stored is not None
    assert (stored.state, stored.result, stored.progress) == ("done", product.result, None)
    assert stored.ended_at is not None
    assert outcomes(job) == ["done"]
    last = begin(job, 1)
    assert not quick.finish(last, runner(), product), "no other part is open"


def test_an_attempt_looks_for_open_parts_after_its_own_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two attempts that looked before would not see each other, and nobody would end the job."""
    in_the_same = "SELECT 1 WHERE pg_current_xact_id_if_assigned() IS NOT NULL"
    monkeypatch.setattr(quick, "OPEN", in_the_same)
    assert not quick.finish(begin(enter(1)), runner(), TILE)


def test_a_second_attempt_that_finds_the_end_does_not_get_the_joining_part() -> None:
    job = enter(1, joins=True)
    quick.finish(begin(job), runner(), TILE)
    for due in ([(MERGE, 1)], []):
        with transaction() as session:
            assert work.advance(session, job) == due


def test_all_parts_at_once_end_their_job_and_have_one_effect_each() -> None:
    for _ in range(25):
        job = enter(6)
        at_once(*[lambda index=index, job=job: do(job, index) for index in range(6)])
        assert show(job).state == "done"
        assert outcomes(job) == ["done"] * 6


def test_the_joining_part_is_given_to_one_of_the_attempts_that_find_the_end() -> None:
    for _ in range(15):
        job = enter(6, joins=True)
        due = at_once(*[lambda index=index, job=job: do(job, index) for index in range(6)])
        assert sorted(due) == [[], [], [], [], [], [(MERGE, 6)]]
        assert do(job, 6, Product(result={})) == []
        assert show(job).state == "done"


def test_many_attempts_at_one_part_have_one_effect() -> None:
    for _ in range(15):
        job = enter(1)
        at_once(*[lambda job=job: do(job, 0)] * 6)
        found = outcomes(job)
        assert (len(found), found.count("done")) == (6, 1)
        assert None not in found, "an attempt that another one replaced is stored as lost or duplicate"
        assert (show(job).state, show(job).done) == ("done", 1)


def test_attempt_replaced_by_another_cannot_take_the_quick_path() -> None:
    job = enter(1)
    old, new = begin(job, host="worker-1"), begin(job, host="worker-2")
    quick.finish(old, runner("worker-1"), TILE)
    quick.finish(new, runner("worker-2"), Product(role="tile", content_type="image/png", data=b"other"))
    with transaction() as session:
        assert jobs.blobs(session, job, "tile") == [(0, b"png", "worker-1")]
    assert sorted(map(str, outcomes(job))) == ["done", "duplicate"]


def test_a_part_waits_for_no_other_part_of_its_job() -> None:
    job = enter(2)
    first, second = begin(job, 0), begin(job, 1)
    with ThreadPoolExecutor(1) as pool, transaction() as session:
        work.finish(session, first, runner(), TILE)
        # This transaction is still open. Its end would release a lock, so the wait is in here.
        pool.submit(quick.finish, second, runner(), TILE).result(timeout=5)
    assert show(job).done == 2


def test_cancel_during_the_work_discards_the_product() -> None:
    job = enter(2)
    part = begin(job)
    with transaction() as session:
        assert work.cancel(session, job) == "cancelled"
    quick.finish(part, runner(), TILE)
    with transaction() as session:
        work.advance(session, job)
    view = show(job)
    assert (view.state, view.done, outcomes(job)) == ("cancelled", 0, ["discarded"])
    with transaction() as session:
        assert jobs.blobs(session, job, "tile") == []


@pytest.mark.parametrize("what", ["cancel", "give up", "withdraw"])
def test_parts_that_end_while_an_operator_acts_have_an_effect_or_none(what: str) -> None:
    """And nobody waits for ever: a lock in the wrong order would be a deadlock."""
    acts: dict[str, Callable[[Any, uuid.UUID], object]] = {
        "cancel": work.cancel,
        "give up": lambda session, job: work.give_up(session, job, 3, "dropped"),
        "withdraw": jobs.withdraw,
    }

    def operate(job: uuid.UUID) -> None:
        with transaction() as session:
            acts[what](session, job)

    for _ in range(15):
        job = enter(5)
        parts = [begin(job, index) for index in range(5)]
        ends = [partial(quick.finish, part, runner(), TILE) for part in parts]
        at_once(*ends, partial(operate, job))
        with transaction() as session:
            work.advance(session, job)
            found = jobs.find(session, job)
            stored = {index for index, _, _ in jobs.blobs(session, job, "tile")}
        if what == "withdraw":
            assert (found, stored) == (None, set())
            continue
        assert found is not None
        assert stored == {part.part for part in found.parts if part.state == "done"}
        assert found.state in ("done", "cancelled", "failed")
        assert None not in outcomes(job)
        if what == "give up":
            assert found.done >= 4


def forget_the_end(job: uuid.UUID) -> None:
    """Do all parts as processes that are killed right after their commit."""
    for index, _ in enumerate(show(job).parts):
        quick.finish(begin(job, index), runner(), TILE)
    assert show(job).state == "running"


def test_redelivery_finds_the_end_that_a_killed_process_did_not(app: Celery) -> None:
    job = enter(3)
    forget_the_end(job)
    app.tasks["mosaic.digest.merge"].apply(args=(str(job), 2))
    assert show(job).state == "done"
    assert outcomes(job) == ["done", "done", "done", "duplicate"]


def test_redelivery_publishes_the_joining_part_once(app: Celery, republished: list[TaskCall]) -> None:
    job = enter(2, joins=True)
    for index in range(2):
        quick.finish(begin(job, index), runner(), Product(result={"a": 1}))
    for _ in range(3):
        app.tasks[SHARD].apply(args=(str(job), 1))
    assert [(call.task, call.args) for call in republished] == [(MERGE, (str(job), 2))]


def test_sweep_finds_the_end_that_a_killed_process_did_not() -> None:
    job, young = enter(3), enter(3)
    forget_the_end(job)
    forget_the_end(young)
    with transaction() as session:
        session.execute(
            update(Job).where(Job.id == job).values(created_at=func.now() - text("interval '25 s'"))
        )
    with transaction() as session:
        assert upkeep.sweep(session, Upkeep(), lambda _task: True) == ([], 0)
    assert (show(job).state, show(young).state) == ("done", "running")


def test_a_lost_connection_counts_as_a_database_that_is_away_and_is_replaced(config: Config) -> None:
    job = enter(2)
    with connection() as own:
        process = own.info.backend_pid
    with psycopg.connect(config.database.url.replace("+psycopg", "")) as killer:
        killer.execute("SELECT pg_terminate_backend(%s)", (process,))
    with pytest.raises(DATABASE_AWAY):
        begin(job)
    begin(job)


def test_an_idle_connection_is_checked_before_it_is_used(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mosaic.ledger.database.IDLE_SECONDS", 0.0)
    job = enter(2)
    with connection() as own:
        process = own.info.backend_pid
    with psycopg.connect(config.database.url.replace("+psycopg", "")) as killer:
        killer.execute("SELECT pg_terminate_backend(%s)", (process,))
    begin(job)
    with connection() as own:
        assert own.info.backend_pid != process


def test_updates_of_a_part_need_no_new_index_entry() -> None:
    """PostgreSQL calls them HOT. An index on a column that they change would prevent it."""
    job = enter(50)
    query = text(
        "SELECT pg_stat_get_xact_tuples_updated('part'::regclass),"
        " pg_stat_get_xact_tuples_hot_updated('part'::regclass)"
    )
    with transaction() as session:
        session.execute(update(Part).where(Part.job_id == job).values(state="running", started_at=func.now()))
        assert tuple(session.execute(query).one()) == (50, 50)


def test_random_attempts_at_random_times_leave_a_complete_job() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for _ in range(6):
        job = enter(8, joins=True)
        deliveries = [index for index in range(8) for _ in range(chance.choice((1, 1, 2, 3)))]
        chance.shuffle(deliveries)
        due: list[tuple[str, int]] = []
        with ThreadPoolExecutor(6) as pool:
            for found in pool.map(lambda index, job=job: do(job, index), deliveries):
                due += found
        assert due == [(MERGE, 8)]
        do(job, 8)
        view = show(job)
        assert (view.state, view.done) == ("done", 9)
        assert outcomes(job).count("done") == 9
        with transaction() as session:
            assert [index for index, _, _ in jobs.blobs(session, job, "tile")] == list(range(9))
