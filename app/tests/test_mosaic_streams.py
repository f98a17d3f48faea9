"""Event streams: first events, later events, and events after an interruption."""

from __future__ import annotations

import asyncio
import base64
import datetime
import json
import time
import uuid
from typing import Any

import httpx
import pytest
from celery import Celery
from conftest import RecordingPublisher
from mosaic.config import Config
from mosaic.gateway import logs
from mosaic.gateway.deps import parse_time
from mosaic.gateway.jobs import stream as job_stream
from mosaic.gateway.jobs.stream import JobFollower, SharedChanges, period
from mosaic.gateway.sse import Event, changes
from mosaic.ledger import jobs, log_records, progress, work
from mosaic.ledger.database import transaction
from mosaic.ledger.log_records import Entry
from mosaic.logs.pattern import check_pattern, matches
from sse import events
from test_mosaic_gateway import VIEW, run_all


def test_lab_stream_begins_with_what_is_known(browser: httpx.Client) -> None:
    with browser.stream("GET", "/api/lab/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-accel-buffering"] == "no"
        first = next(events(answer))
    assert (first.kind, first.data["database"]["state"]) == ("lab", "up")


def test_job_stream_from_submission_to_end(
    browser: httpx.Client, app: Celery, publisher: RecordingPublisher
) -> None:
    job = browser.post("/api/jobs/render", json=VIEW).json()["job"]
    with browser.stream("GET", f"/api/jobs/{job}/events") as answer:
        stream = events(answer)
        parts, first = next(stream), next(stream)
        assert [part["state"] for part in parts.data] == ["accepted"] * 6
        assert (first.kind, first.data["state"], first.data["total"], first.data["done"]) == (
            "job",
            "running",
            6,
            0,
        )
        committed = time.monotonic()
        run_all(app, publisher)
        done: set[int] = set()
        for event in stream:
            if event.kind == "parts":
                done |= {part["part"] for part in event.data if part["state"] == "done"}
            elif event.data["state"] == "done":
                assert event.data["by_host"] == {"worker-1": 6}
        assert done == set(range(6)), "the stream ends by itself, and nothing is missing"
        assert time.monotonic() - committed < 5


def test_cut_job_stream_goes_on_where_it_was(config: Config, client: httpx.Client, app: Celery) -> None:
    job = uuid.UUID(client.post("/api/jobs/render", json=VIEW).json()["job"])
    before = JobFollower(job, None)
    start = before.read()
    assert start is not None
    cut = start[-1].id
    for index in range(2):
        app.tasks["mosaic.render.tile"].apply(args=(str(job), index))
    again = JobFollower(job, parse_time(cut)).read()
    assert again is not None
    parts = {part.part for event in again if event.kind == "parts" for part in event.data}
    assert {0, 1} <= parts
    assert again[-1].data.done == 2
    assert again[-1].data.by_host == {"worker-1": 2}


def test_tiles_come_ahead_of_their_parts(config: Config, client: httpx.Client, app: Celery) -> None:
    job = uuid.UUID(client.post("/api/jobs/render", json=VIEW).json()["job"])
    follower, plain = JobFollower(job, None, tiles=True), JobFollower(job, None)
    assert [event.kind for event in follower.read() or []] == ["parts", "job"]
    app.tasks["mosaic.render.tile"].apply(args=(str(job), 1))
    sent, parts, _ = follower.read() or []
    assert (sent.kind, list(sent.data), sent.id) == ("tiles", [1], None)
    assert base64.b64decode(sent.data[1]) == client.get(f"/api/jobs/{job}/tiles/1.png").content
    assert parts.kind == "parts"
    assert [event.kind for event in follower.read() or []] == [], "a tile is sent once"
    assert "tiles" not in [event.kind for event in plain.read() or []], (
        "nobody is sent what was not asked for"
    )


def test_tiles_of_a_job_that_had_ended_are_left_to_the_cache(
    config: Config, client: httpx.Client, app: Celery, publisher: RecordingPublisher
) -> None:
    job = uuid.UUID(client.post("/api/jobs/render", json=VIEW).json()["job"])
    run_all(app, publisher)
    assert [event.kind for event in JobFollower(job, None, tiles=True).read() or []] == ["parts", "job"]


def counted(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[Any]:
    """Note the arguments of each call of a function."""
    calls: list[Any] = []
    function = getattr(module, name)

    def call(*given: Any) -> Any:
        calls.append(given)
        return function(*given)

    monkeypatch.setattr(module, name, call)
    return calls


def test_streams_of_a_job_share_what_they_read(
    config: Config, client: httpx.Client, app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = uuid.UUID(client.post("/api/jobs/render", json=VIEW).json()["job"])
    monkeypatch.setattr(job_stream, "PERIOD_SECONDS", 60.0)
    shared = SharedChanges()
    followers = [JobFollower(job, None, changes=shared) for _ in range(3)]
    for follower in followers:
        follower.read()
    read = counted(monkeypatch, progress, "changes")
    app.tasks["mosaic.render.tile"].apply(args=(str(job), 1))
    for follower in followers:
        parts, _ = follower.read() or []
        assert [(part.part, part.state) for part in parts.data] == [(1, "done")]
    assert len(read) == 1
    app.tasks["mosaic.render.tile"].apply(args=(str(job), 2))
    monkeypatch.setattr(job_stream, "PERIOD_SECONDS", 0.0)
    parts, _ = followers[0].read() or []
    assert [part.part for part in parts.data] == [2], "a reading that is older than a period is not used"


def test_opening_an_ended_job_reads_its_parts_once(
    browser: httpx.Client, app: Celery, publisher: RecordingPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = browser.post("/api/jobs/render", json=VIEW).json()["job"]
    run_all(app, publisher)
    read = counted(monkeypatch, jobs, "part_views")
    monkeypatch.setattr(progress, "part_views", jobs.part_views)
    with browser.stream("GET", f"/api/jobs/{job}/events") as answer:
        assert [event.kind for event in events(answer)] == ["parts", "job"]
    assert len(read) == 1


def test_a_quiet_job_is_read_seldom_and_never_late_by_more_than_a_quarter_of_the_pause() -> None:
    assert period(0.0) == period(0.5) == job_stream.PERIOD_SECONDS == 0.15
    assert period(2.0) == 0.5
    assert period(60.0) == 1.0


def test_job_stream_of_nothing(browser: httpx.Client) -> None:
    assert browser.get(f"/api/jobs/{uuid.UUID(int=5)}/events").status_code == 404
    assert browser.get("/api/jobs/x/events").status_code == 404


def test_job_that_goes_away_ends_its_stream(config: Config) -> None:
    assert JobFollower(uuid.UUID(int=5), None).read() is None


@pytest.mark.parametrize(
    "text", [None, "", "x", "2026-11-01", "2026-11-01T00:00:00", "9" * 60, "0001-01-01T00:00:01+00:00"]
)
def test_id_that_nobody_knows_starts_from_the_beginning(text: str | None) -> None:
    assert parse_time(text) is None


def test_jobs_stream_tells_of_new_jobs(browser: httpx.Client) -> None:
    with browser.stream("GET", "/api/jobs/events") as answer:
        stream = events(answer)
        assert next(stream).data == []
        job = browser.post("/api/jobs/render", json=VIEW).json()["job"]
        assert [one["job"] for one in next(stream).data] == [job]
        with transaction() as session:
            work.cancel(session, uuid.UUID(job))
        assert [one["state"] for one in next(stream).data] == ["cancelled"]


def test_slow_client_gets_the_latest_value_only() -> None:
    values = [1]

    async def read() -> int:
        return values[-1]

    async def scene() -> list[int]:
        heard = []
        async for event in changes(read, "number", 0, dict):
            if event.kind == "age":
                continue
            heard.append(event.data)
            if event.data == 3:
                break
            values.extend([2, 3, 3])
        return heard

    assert asyncio.run(scene()) == [1, 3]


def test_stream_reports_the_age_of_its_figures_although_they_do_not_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mosaic.gateway.sse.AGE_SECONDS", 0.01)
    ages = iter([0.24, 1.26])

    async def read() -> int:
        return 1

    async def scene() -> list[Event]:
        stream = changes(read, "number", 0.02, lambda: {"queues": next(ages)})
        return [await anext(stream) for _ in range(3)]

    first, *aged = asyncio.run(scene())
    assert first.kind == "number"
    assert [event.kind for event in aged] == ["age", "age"]
    assert [event.data["ages"] for event in aged] == [{"queues": 0.2}, {"queues": 1.3}]
    assert abs(aged[0].data["at"] - time.time()) < 60, "the gateway's clock"


@pytest.mark.parametrize("path", ["lab", "workers", "periodic", "jobs"])
def test_every_stream_reports_ages(browser: httpx.Client, path: str) -> None:
    with browser.stream("GET", f"/api/{path}/events") as answer:
        lines = answer.iter_lines()
        for line in lines:
            if line == "event: age":
                found = json.loads(next(lines).removeprefix("data: "))
                if found["ages"]:
                    break
    assert all(0 <= age < 5 for age in found["ages"].values())


def test_event_on_the_wire() -> None:
    assert Event({"a": "x\ny"}, "lab", "7").encode() == b'id: 7\nevent: lab\ndata: {"a":"x\\ny"}\n\n'


@pytest.mark.parametrize(
    ("pattern", "key", "expected"),
    [
        ("#", "worker-1.err", True),
        ("#", "", True),
        ("*.err", "worker-1.err", True),
        ("*.err", "worker-1.info", False),
        ("worker-1.#", "worker-1.err", True),
        ("worker-1.#", "worker-1", True),
        ("worker-1.*", "worker-1", False),
        ("worker-1", "worker-1.err", False),
        ("#.err", "a.b.c.err", True),
        ("*.*", "a.b.c", False),
        ("a.#.c", "a.c", True),
        (".".join(["#"] * 100), "a.b", True),
        (".".join([*["#"] * 99, "z"]), "a.b.c.d.e.f.g.h", False),
    ],
)
def test_binding_patterns_as_the_broker_reads_them(pattern: str, key: str, expected: bool) -> None:
    assert matches(check_pattern(pattern), key) is expected


@pytest.mark.parametrize("pattern", ["", "a..b", "a b", "a.**", "ä.err", "x" * 201, "a.err\n", "."])
def test_what_is_no_pattern(browser: httpx.Client, pattern: str) -> None:
    answer = browser.get("/api/logs/events", params={"pattern": pattern})
    assert answer.status_code == 422
    assert "no binding pattern" in answer.json()["error"]


class FakeTail:
    """A tail that is ready at once and passes on the records of the test."""

    def __init__(self, patterns: object, take: object) -> None:
        self.patterns, self.take, self.stopped = patterns, take, False
        self.ready = type("Ready", (), {"wait": lambda *_: True, "is_set": lambda *_: True})()

    def start(self) -> None:
        """Nothing to begin."""

    def stop(self) -> None:
        """Remember."""
        self.stopped = True


def entry(message: str, host: str = "worker-1", severity: int = 6, second: int = 0) -> Entry:
    """Return a record."""
    at = datetime.datetime(2026, 11, 1, 12, 0, second, tzinfo=datetime.UTC)
    return Entry(message, host, severity, "demo.service", message, at)


def test_log_stream_is_stored_records_then_new_ones_then_the_rest_after_a_cut(config: Config) -> None:
    with transaction() as session:
        log_records.store(
            session, [entry("old"), entry("other", host="worker-2"), entry("debug", severity=7)]
        )
    tails: list[FakeTail] = []

    def open_tail(patterns: object, take: object) -> FakeTail:
        tails.append(FakeTail(patterns, take))
        return tails[-1]

    async def scene() -> None:
        records = logs.follow(open_tail, ["worker-1.info"], None)  # type: ignore[arg-type]
        assert (await anext(records)).data == {"patterns": ["worker-1.info"], "live": True}
        stored = await anext(records)
        assert [record.message for record in stored.data] == ["old"]
        tails[0].take(entry("new", second=5))  # type: ignore[operator]
        fresh = await anext(records)
        assert [record.message for record in fresh.data] == ["new"]
        assert fresh.id == "2026-11-01T12:00:05+00:00"
        await records.aclose()
        assert tails[0].stopped

    asyncio.run(scene())
    with transaction() as session:
        log_records.store(session, [entry("meanwhile", second=9), entry("long ago", second=0)])

    async def again() -> None:
        records = logs.follow(open_tail, ["#"], entry("seen", second=12).logged_at)  # type: ignore[arg-type]
        await anext(records)
        assert [record.message for record in (await anext(records)).data] == ["meanwhile"]
        await records.aclose()

    asyncio.run(again())
