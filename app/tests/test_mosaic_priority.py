"""The priority of a job: from the request to the property of its messages, and what waits behind what."""

from __future__ import annotations

import asyncio
import datetime
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from amqp import Message
from celery import Celery
from celery.app.task import Context
from conftest import RecordingPublisher
from fastapi.testclient import TestClient
from mosaic.config import Config, Upkeep
from mosaic.gateway.jobs.routes import LatestJobs
from mosaic.ledger import jobs, upkeep
from mosaic.ledger.database import transaction
from mosaic.ledger.jobs import JobPlan, PlannedPart, TaskCall
from mosaic.ledger.models import HIGH, NORMAL, Part
from mosaic.publish import publish
from sqlalchemy import update
from sse import events
from test_mosaic_gateway import VIEW

TILE = "mosaic.render.tile"


class Confirmed:
    """Replaces the window's confirms: keeps each message and confirms it at once."""

    link = reason = None
    messages: list[Any]

    def __init__(self, *_: Any) -> None:
        pass

    def put(self, prepared: Any) -> None:
        """Keep a message."""
        message = Message()
        message._load_properties(Message.CLASS_ID, prepared.encoded.properties, 0)
        self.messages.append(message)

    def run(self, *_: Any) -> None:
        """Wait for nothing."""

    is_done = is_sent = release = run

    def take_failed(self, _mine: Callable[[Any], bool]) -> list[Any]:
        """Return no message."""
        return []


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list that collects the AMQP messages of windows."""
    messages: list[Any] = []
    monkeypatch.setattr(Confirmed, "messages", messages, raising=False)
    monkeypatch.setattr("celery_durable.window.Confirms", Confirmed)
    return messages


def enter(plan: JobPlan, priority: str) -> tuple[uuid.UUID, list[TaskCall]]:
    """Store a job; return its id and the calls to publish."""
    with transaction() as session:
        return jobs.enter(session, plan, priority)


def test_a_message_has_the_level_of_its_job(app: Celery, wire: list[Any]) -> None:
    """A quorum queue counts 0 to 4 as normal, and 5 or more as high."""
    publish(app, [TaskCall(TILE, ("j", 0)), TaskCall(TILE, ("j", 1), priority=HIGH)])
    normal, high = (message.properties["priority"] for message in wire)
    assert (normal, high) == (0, 5)


def test_a_retry_keeps_the_priority(app: Celery) -> None:
    request = Context(id="t", args=("j", 0), kwargs={}, delivery_info={"priority": 5})
    assert app.tasks[TILE].signature_from_request(request, countdown=1).options["priority"] == 5


@pytest.mark.parametrize(("query", "stored"), [({}, NORMAL), ({"priority": "high"}, HIGH)])
def test_a_job_is_published_and_shown_with_its_priority(
    client: TestClient, publisher: RecordingPublisher, query: dict[str, str], stored: str
) -> None:
    job = client.post("/api/jobs/render", json=VIEW, params=query).json()["job"]
    text = {"content": "one two", "headers": {"Content-Type": "text/plain"}}
    assert client.post("/api/jobs/digest", params=query, **text).status_code == 202  # type: ignore[arg-type]
    assert {call.priority for call in publisher.calls} == {stored}
    assert client.get(f"/api/jobs/{job}").json()["priority"] == stored
    assert ("high priority" in client.get(f"/jobs/{job}").text) == (stored == HIGH)


def test_another_priority_is_refused(client: TestClient, publisher: RecordingPublisher) -> None:
    answer = client.post("/api/jobs/render", json=VIEW, params={"priority": "9"})
    assert answer.status_code == 422
    assert answer.json() == {"error": "priority: input should be 'normal' or 'high'."}
    assert publisher.calls == []


def test_the_sweep_keeps_the_priority(config: Config) -> None:
    plan = JobPlan("test", {}, [PlannedPart(TILE, {})])
    expected = {str(enter(plan, priority)[0]): priority for priority in (NORMAL, HIGH)}
    with transaction() as session:
        ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=60)
        session.execute(update(Part).values(published_at=ago))
        calls, _ = upkeep.sweep(session, Upkeep(), lambda _task: True)
    assert {call.args[0]: call.priority for call in calls} == expected


def test_parts_ahead_are_those_that_the_queue_delivers_before(config: Config) -> None:
    def render(parts: int, priority: str, kind: str = "render") -> uuid.UUID:
        return enter(JobPlan(kind, {}, [PlannedPart(TILE, {})] * parts), priority)[0]

    order = [
        render(100, NORMAL),
        render(30, HIGH),
        render(5, NORMAL),
        render(2, HIGH),
        render(1000, NORMAL, "digest"),
    ]

    async def ahead() -> list[int]:
        latest = LatestJobs()
        shown = {summary.job: summary for summary in await latest.read()}
        return [await latest.parts_ahead(shown[job]) for job in order]

    assert asyncio.run(ahead()) == [32, 0, 132, 30, 0]


def test_the_page_of_a_waiting_job_shows_what_it_waits_for(
    browser: httpx.Client, app: Celery, publisher: RecordingPublisher
) -> None:
    browser.post("/api/jobs/render", json=VIEW)
    ahead, publisher.calls = publisher.calls, []
    job = browser.post("/api/jobs/render", json=VIEW).json()["job"]
    found: list[int] = []
    with browser.stream("GET", f"/api/jobs/{job}/events") as answer:
        for event in events(answer):
            if event.kind == "ahead":
                found.append(event.data["parts"])
                for call in publisher.calls if found[-1] == 0 else ahead:
                    app.tasks[call.task].apply(args=call.args)
    assert found == [6, 0]
