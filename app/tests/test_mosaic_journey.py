"""Follow a message: the times of a part's message, where they come from, and what they cost."""

from __future__ import annotations

import datetime
import time
import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.app.task import Context
from celery.utils.imports import symbol_by_name
from fastapi.testclient import TestClient
from mosaic.config import Config
from mosaic.ledger import heartbeats, jobs, quick, work
from mosaic.ledger.database import transaction
from mosaic.ledger.heartbeats import WORKER, Source
from mosaic.ledger.jobs import JobPlan, PlannedPart
from mosaic.ledger.journey import Journey, journey
from mosaic.ledger.work import Product, Runner
from mosaic.worker import heartbeat, message
from mosaic.worker.message import FollowedRequest, message_of, take_acknowledged

TILE = "mosaic.render.tile"
STEPS = ["submitted", "confirmed", "queued", "received", "started", "finished", "acknowledged"]


def enter(parts: int = 1) -> uuid.UUID:
    """Enter a job."""
    with transaction() as session:
        plan = JobPlan("test", {}, [PlannedPart(TILE, {})] * parts)
        return jobs.enter(session, plan)[0]


def way(job: uuid.UUID, index: int = 0) -> Journey:
    """Return the way of a part's message."""
    with transaction() as session:
        found = journey(session, job, index)
    assert found is not None
    return found


def times(found: Journey) -> dict[str, datetime.datetime | None]:
    """Return the time of each step."""
    return {step.name: step.at for step in found.steps}


def acknowledge(config: Config, host: str, tasks: dict[str, float]) -> None:
    """Store acknowledgements as a worker's heartbeat does."""
    with heartbeat.connect(config.database.url) as connection:
        heartbeats.acknowledged(connection, Source(f"render@{host}", WORKER, host, 7), tasks)


def test_way_of_a_message_has_all_times_with_their_clocks(config: Config) -> None:
    job = enter()
    assert list(times(way(job))) == STEPS
    assert [name for name, at in times(way(job)).items() if at] == ["submitted"]
    with transaction() as session:
        jobs.confirm(session, job)
    now = time.time()
    marks = {"queued": int(now * 1000), "broker": "rabbit@broker-2", "received": now}
    runner = Runner("task-1", TILE, "worker-2", 42, message=marks)
    part = quick.begin(runner, job, 0)
    assert part is not None
    quick.finish(part, runner, Product(result={}))
    assert [name for name, at in times(way(job)).items() if not at] == ["acknowledged"]
    acknowledge(config, "worker-1", {"task-1": now - 5})  # of another host, which had the message before
    acknowledge(config, "worker-2", {"task-0": now, "task-1": now + 1})
    found = way(job)
    assert all(times(found).values())
    assert times(found)["queued"] == datetime.datetime.fromtimestamp(marks["queued"] / 1000, datetime.UTC)
    assert times(found)["acknowledged"] == datetime.datetime.fromtimestamp(now + 1, datetime.UTC)
    assert {step.name: (step.host, step.clock) for step in found.steps} == {
        "submitted": (None, "database"),
        "confirmed": (None, "database"),
        "queued": ("broker-2", "broker-2"),
        "received": ("worker-2", "worker-2"),
        "started": ("worker-2", "database"),
        "finished": ("worker-2", "database"),
        "acknowledged": ("worker-2", "worker-2"),
    }
    assert found.waiting is not None
    assert found.working is not None
    assert found.waiting > 0
    assert found.working > 0


def test_latest_attempt_is_followed(config: Config) -> None:
    job = enter()
    quick.begin(Runner("task-1", TILE, "worker-1", 1), job, 0)
    quick.begin(Runner("task-1", TILE, "worker-2", 2, redelivered=True, message={"received": 1.5}), job, 0)
    found = way(job)
    assert (found.attempt, found.pid, found.redelivered) == (2, 2, True)
    assert times(found)["received"] == datetime.datetime.fromtimestamp(1.5, datetime.UTC)


@pytest.mark.usefixtures("config")
def test_attempt_without_a_message_stores_no_value() -> None:
    with transaction() as session:
        number = work.begin_attempt(session, Runner("task-1", TILE, "worker-1", 1))
    with transaction() as session:
        attempt = session.get(work.Attempt, number)
        assert attempt is not None
        assert attempt.message is None


def test_confirmation_is_stored_when_a_job_is_accepted(client: TestClient) -> None:
    view = {"width": 64, "height": 64, "tile": 64, "iterations": 20}
    job = client.post("/api/jobs/render", json=view).json()["job"]
    steps = client.get(f"/api/jobs/{job}/parts/0/journey").json()["steps"]
    assert [step["name"] for step in steps if step["at"]] == ["submitted", "confirmed"]
    answer = client.get(f"/api/jobs/{job}/parts/9/journey")
    assert (answer.status_code, answer.json()["error"]) == (404, f"job {job} has no part 9.")


def request_of(app: Celery, headers: dict[str, Any]) -> FollowedRequest:
    """Return a request of a worker for a message with these headers."""
    raw = SimpleNamespace(
        headers=headers,
        properties={},
        delivery_info={},
        content_type="application/json",
        content_encoding="utf-8",
    )
    return FollowedRequest(
        raw,
        body=(["a", 0], {}, {}),
        app=app,
        task=app.tasks[TILE],
        decoded=True,
        on_ack=lambda *_: None,
        hostname="render@worker-1",
    )


def test_worker_notes_receipt_and_acknowledgement(app: Celery) -> None:
    assert issubclass(symbol_by_name(app.tasks[TILE].Request), FollowedRequest)
    take_acknowledged()
    before = time.time()
    headers = {"id": "task-1", "task": TILE, "timestamp_in_ms": 1500, "x-routed-by": "rabbit@broker-1"}
    request = request_of(app, headers)
    marks = message_of(Context(request.request_dict))
    assert marks is not None
    assert (marks["queued"], marks["broker"]) == (1500, "rabbit@broker-1")
    assert before <= marks["received"] <= time.time()
    assert take_acknowledged() == {}
    request.acknowledge()
    request.acknowledge()
    (found,) = take_acknowledged().items()
    assert found[0] == "task-1"
    assert found[1] >= marks["received"]
    assert take_acknowledged() == {}


def test_message_without_times_is_unknown() -> None:
    assert message_of(Context({"id": "task-1"})) is None
    assert message_of(Context({"timestamp_in_ms": ["x"], "x-routed-by": "b"})) == {"broker": "b"}


def test_acknowledgements_go_with_the_heartbeat(config: Config) -> None:
    job = enter()
    runner = Runner("task-9", TILE, "worker-1", 42)
    part = quick.begin(runner, job, 0)
    assert part is not None
    quick.finish(part, runner, Product(result={}))
    message._acknowledged.append(("task-9", time.time()))
    thread = heartbeat.HeartbeatThread(
        config.database.url, Source("render@worker-1", WORKER, "worker-1", 7), dict
    )
    thread.start()
    thread.stop()
    assert times(way(job))["acknowledged"] is not None
