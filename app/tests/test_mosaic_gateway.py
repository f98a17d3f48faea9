"""The HTTP API: submissions, progress, pictures, logs."""

from __future__ import annotations

import datetime
import io
import uuid
from typing import Any

import pytest
from celery import Celery
from conftest import RecordingPublisher
from fastapi.testclient import TestClient
from mosaic.ledger import jobs, log_records, periodic
from mosaic.ledger.database import transaction
from mosaic.ledger.log_records import Entry
from mosaic.ledger.models import Job
from mosaic.ledger.work import Runner
from PIL import Image
from sqlalchemy import select

VIEW = {
    "center_x": -0.6,
    "center_y": 0,
    "width_units": 3.2,
    "width": 96,
    "height": 64,
    "tile": 32,
    "iterations": 60,
}


def run_all(app: Celery, publisher: RecordingPublisher) -> None:
    """Run all published tasks in this process."""
    for call in publisher.calls:
        app.tasks[call.task].apply(args=call.args)


def picture(width: int = 300, height: int = 200) -> bytes:
    """Return a PNG file."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(file, "PNG")
    return file.getvalue()


def test_healthz_needs_no_login(anonymous: TestClient) -> None:
    assert anonymous.get("/healthz").json() == {"status": "ok"}


def test_render_from_submission_to_picture(
    client: TestClient, publisher: RecordingPublisher, app: Celery
) -> None:
    answer = client.post("/api/jobs/render", json=VIEW)
    assert answer.status_code == 202
    job = answer.json()["job"]
    assert answer.json() == {"job": job, "parts": 6}
    assert [(call.task, call.args) for call in publisher.calls] == [
        ("mosaic.render.tile", (job, index)) for index in range(6)
    ]
    started = client.get(f"/api/jobs/{job}").json()
    assert (started["state"], started["total"], started["done"], started["by_host"]) == ("running", 6, 0, {})
    assert client.get(f"/api/jobs/{job}/tiles/0.png").status_code == 404
    empty = client.get(f"/api/jobs/{job}/image")
    assert Image.open(io.BytesIO(empty.content)).size == (96, 64)
    run_all(app, publisher)
    shown = client.get(f"/api/jobs/{job}").json()
    assert (shown["state"], shown["done"], shown["by_host"]) == ("done", 6, {"worker-1": 6})
    assert set(shown["parts"][0]) >= {"part", "state", "host", "pid", "attempts", "started", "ended"}
    assert shown["seconds"] > 0
    tile = client.get(f"/api/jobs/{job}/tiles/5.png")
    assert (tile.status_code, tile.headers["content-type"]) == (200, "image/png")
    plain = client.get(f"/api/jobs/{job}/image")
    tinted = client.get(f"/api/jobs/{job}/image", params={"tint": "host"})
    assert len({empty.content, plain.content, tinted.content}) == 3
    kept = ["immutable" in answer.headers["cache-control"] for answer in (empty, plain, tinted)]
    assert kept == [False, True, False]
    assert client.get(f"/api/jobs/{job}/result").status_code == 404


def test_zoom_is_another_way_to_say_width(client: TestClient) -> None:
    view = {key: value for key, value in VIEW.items() if key != "width_units"}
    job = client.post("/api/jobs/render", json={**view, "zoom": 8}).json()["job"]
    assert client.get(f"/api/jobs/{job}").json()["params"]["width_units"] == 0.5


def test_empty_object_renders_the_whole_set(client: TestClient, publisher: RecordingPublisher) -> None:
    assert client.post("/api/jobs/render", json={}).json()["parts"] == 280 == len(publisher.calls)


def test_scale_takes_an_upload(client: TestClient, publisher: RecordingPublisher) -> None:
    answer = client.post("/api/jobs/scale", files={"file": ("a.png", picture())}, data={"sizes": "64, 32,64"})
    assert answer.status_code == 202, answer.text
    assert answer.json()["parts"] == 3
    job = answer.json()["job"]
    assert [call.task for call in publisher.calls] == ["mosaic.scale.size"] * 2
    with transaction() as session:
        blob = jobs.blob(session, uuid.UUID(job), "source")
    assert blob is not None
    assert (blob.data, blob.content_type) == (picture(), "image/png")
    unfinished = client.get(f"/api/jobs/{job}/image")
    assert (unfinished.status_code, unfinished.json()["error"]) == (
        404,
        "this job has no picture yet: 0 of 3 parts are done.",
    )


def test_digest_takes_a_text(
    client: TestClient, publisher: RecordingPublisher, app: Celery, republished: list[Any]
) -> None:
    text = "Ein Männlein steht im Walde\n" * 100
    answer = client.post("/api/jobs/digest", content=text.encode(), headers={"Content-Type": "text/plain"})
    assert answer.status_code == 202, answer.text
    run_all(app, publisher)
    for call in republished:
        app.tasks[call.task].apply(args=call.args)
    job = answer.json()["job"]
    assert client.get(f"/api/jobs/{job}/result").json()["words"] == 500
    listed = client.get("/api/jobs", params={"limit": 5}).json()["jobs"]
    assert [(item["job"], item["kind"], item["state"]) for item in listed] == [(job, "digest", "done")]


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("render", {"json": VIEW}),
        ("scale", {"files": {"file": ("a.png", picture())}}),
        ("digest", {"content": b"some words", "headers": {"Content-Type": "text/plain"}}),
    ],
)
def test_nothing_is_half_entered_when_the_broker_is_away(
    client: TestClient, publisher: RecordingPublisher, path: str, options: dict[str, Any]
) -> None:
    publisher.broken = True
    answer = client.post(f"/api/jobs/{path}", **options)
    assert answer.status_code == 503
    assert answer.json()["error"].startswith("the broker does not confirm")
    with transaction() as session:
        assert session.scalars(select(Job)).all() == []


def test_absent_database_is_a_503(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy.exc import OperationalError

    def away(*_: object) -> None:
        raise OperationalError("SELECT 1", {}, ConnectionError("gone"))

    monkeypatch.setattr("mosaic.ledger.jobs.recent", away)
    answer = client.get("/api/jobs")
    assert (answer.status_code, answer.json()["error"]) == (
        503,
        "the database does not answer; try again in a moment.",
    )


def test_unexpected_errors_keep_the_shape_and_tell_no_detail(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mosaic.ledger.jobs.recent", lambda *_: 1 / 0)
    answer = client.get("/api/jobs")
    assert answer.status_code == 500
    assert list(answer.json()) == ["error"]
    assert "division" not in answer.text


def entry(message: str, host: str, severity: int, second: int) -> Entry:
    """Return a log record."""
    at = datetime.datetime(2026, 11, 1, 12, 0, second, tzinfo=datetime.UTC)
    return Entry(message, host, severity, "demo.service", message, at)


def test_logs_are_newest_first_and_filtered(client: TestClient) -> None:
    records = [entry("a", "worker-1", 6, 1), entry("b", "worker-2", 3, 2), entry("c", "worker-1", 4, 3)]
    with transaction() as session:
        assert log_records.store(session, records) == 3
        assert log_records.store(session, [*records, entry("d", "worker-1", 7, 0)]) == 1

    def messages(**params: Any) -> list[str]:
        answer = client.get("/api/logs", params=params)
        assert answer.status_code == 200, answer.text
        return [record["message"] for record in answer.json()["records"]]

    assert messages() == ["c", "b", "a", "d"]
    assert messages(limit=2) == ["c", "b"]
    assert messages(host="worker-1") == ["c", "a", "d"]
    assert messages(severity="warning") == ["c", "b"]
    assert messages(severity="warning", host="worker-2") == ["b"]
    assert client.get("/api/logs").json()["records"][1]["severity"] == "err"


def test_beat(client: TestClient) -> None:
    assert client.get("/api/beat").status_code == 404
    with transaction() as session:
        periodic.begin(session, Runner("t", periodic.TICK, "worker-2", 42), "gateway-1")
    beat = client.get("/api/beat").json()
    assert (beat["host"], beat["beat_host"]) == ("worker-2", "gateway-1")
    assert 0 <= beat["age_seconds"] < 5
    assert datetime.datetime.fromisoformat(beat["last_tick"]).tzinfo is not None


def test_console_page_needs_nothing_inline_or_foreign(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    policy = page.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "<style" not in page.text
    assert " style=" not in page.text
    assert " onclick=" not in page.text
    assert "https://" not in page.text
    for path in ("/static/lab.js", "/static/base.css", "/static/icon.svg"):
        assert path in page.text
        assert client.get(path).status_code == 200
