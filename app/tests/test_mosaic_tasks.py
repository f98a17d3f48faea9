"""Tasks in this process, with a real ledger: outcomes, retries, joins."""

from __future__ import annotations

import io
import uuid
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import Retry
from mosaic.kinds.digest.plan import plan as plan_digest
from mosaic.kinds.digest.words import count_words
from mosaic.kinds.render.plan import RenderRequest
from mosaic.kinds.render.plan import plan as plan_render
from mosaic.kinds.scale.plan import job_plan as plan_scale
from mosaic.ledger import jobs, periodic
from mosaic.ledger.database import transaction
from mosaic.ledger.jobs import JobPlan, JobView, TaskCall
from mosaic.ledger.models import HIGH, Attempt
from PIL import Image
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

VIEW = RenderRequest(width=96, height=64, tile=32, iterations=60)


def enter(plan: JobPlan) -> tuple[uuid.UUID, list[TaskCall]]:
    """Enter a job; return its id and what would be published."""
    with transaction() as session:
        return jobs.enter(session, plan)


def run(app: Celery, call: TaskCall) -> Any:
    """Run a task in this process."""
    return app.tasks[call.task].apply(args=call.args)


def show(job_id: uuid.UUID) -> JobView:
    """Return the job with its parts."""
    with transaction() as session:
        view = jobs.find(session, job_id)
    assert view is not None
    return view


def attempts() -> list[Attempt]:
    """Return all attempts in order."""
    with transaction() as session:
        return list(session.scalars(select(Attempt).order_by(Attempt.id)))


def test_render_stores_every_tile_once(app: Celery) -> None:
    job_id, calls = enter(plan_render(VIEW))
    assert len(calls) == 6
    for call in [*calls, *calls[:2]]:
        run(app, call)
    view = show(job_id)
    assert (view.state, view.by_host) == ("done", {"worker-1": 6})
    with transaction() as session:
        tiles = jobs.blobs(session, job_id, "tile")
    assert [index for index, _, _ in tiles] == list(range(6))
    assert Image.open(io.BytesIO(tiles[0][1])).size == (32, 32)
    assert [attempt.outcome for attempt in attempts()] == ["done"] * 6 + ["duplicate"] * 2


def test_render_task_keeps_its_palette(app: Celery) -> None:
    _, calls = enter(plan_render(VIEW))
    run(app, calls[0])
    task: Any = app.tasks["mosaic.render.tile"]
    palette = task.palette
    run(app, calls[1])
    assert task.palette is palette


def test_digest_publishes_its_merge_after_the_last_shard(app: Celery, republished: list[TaskCall]) -> None:
    text = "one two three two one one\n" * 400
    job_id, calls = enter(plan_digest(text.encode()))
    for call in calls[:-1]:
        run(app, call)
    assert republished == []
    run(app, calls[-1])
    assert [call.task for call in republished] == ["mosaic.digest.merge"]
    run(app, republished[0])
    assert show(job_id).state == "done"
    with transaction() as session:
        result = jobs.result(session, job_id)
    assert result is not None
    assert result["top"] == [["one", 1200], ["two", 800], ["three", 400]]
    assert result["words"] == count_words(text).total()


def test_scale_publishes_its_sheet_after_the_last_size(app: Celery, republished: list[TaskCall]) -> None:
    file = io.BytesIO()
    Image.new("RGB", (400, 300), (10, 200, 30)).save(file, "PNG")
    job_id, calls = enter(plan_scale(file.getvalue(), "image/png", (64, 128)))
    run(app, calls[1])
    assert republished == []
    run(app, calls[0])
    assert republished == [TaskCall("mosaic.scale.sheet", (str(job_id), 2), priority=HIGH)]
    run(app, republished[0])
    assert show(job_id).state == "done"
    with transaction() as session:
        result = jobs.result(session, job_id)
        sheet = jobs.blobs(session, job_id, "sheet")
    assert result is not None
    assert [(item["width"], item["height"]) for item in result["sizes"]] == [(64, 48), (128, 96)]
    assert len(sheet) == 1


def test_failed_part_fails_the_job_with_its_error(app: Celery) -> None:
    job_id, _ = enter(plan_scale(b"no picture", "image/png", (64,)))
    result = run(app, TaskCall("mosaic.scale.size", (str(job_id), 0)))
    assert result.state == "FAILURE"
    view = show(job_id)
    assert view.state == "failed"
    assert "not a picture" in str(view.error)
    assert view.parts[0].error == str(view.error).removeprefix("part 0: ")


def test_absent_database_is_waited_for(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    _, calls = enter(plan_render(VIEW))
    task = app.tasks["mosaic.render.tile"]
    countdowns: list[int] = []

    def retry(exc: Exception, countdown: int, throw: bool) -> Retry:
        assert not throw
        countdowns.append(countdown)
        return Retry(exc=exc)

    def away(*_: object) -> None:
        raise OperationalError("SELECT 1", {}, ConnectionError("gone"))

    monkeypatch.setattr(task, "retry", retry)
    monkeypatch.setattr("mosaic.ledger.quick.begin", away)
    for retries in (0, 1, 3, 5, 400):
        task.push_request(id="x", retries=retries, delivery_info={})
        with pytest.raises(Retry):
            task(*calls[0].args)
        task.pop_request()
    assert countdowns == [1, 2, 8, 8, 8]
    assert task.max_retries is None


def test_unknown_job_is_discarded(app: Celery) -> None:
    assert run(app, TaskCall("mosaic.render.tile", (str(uuid.uuid4()), 0))).state == "SUCCESS"
    [attempt] = attempts()
    assert (attempt.outcome, attempt.job_id) == ("discarded", None)


def test_probe_is_an_attempt_on_this_host(app: Celery) -> None:
    result = run(app, TaskCall("mosaic.probe", ()))
    with transaction() as session:
        [attempt] = jobs.finished_attempts(session, [result.id])
    assert (attempt.host, attempt.task) == ("worker-1", "mosaic.probe")


def test_tick_and_purge(app: Celery) -> None:
    run(app, TaskCall("mosaic.upkeep.tick", ()))
    assert run(app, TaskCall("mosaic.upkeep.purge", ())).state == "SUCCESS"
    with transaction() as session:
        tick = periodic.latest(session)[periodic.TICK]
    assert (tick.host, tick.outcome) == ("worker-1", "done")
