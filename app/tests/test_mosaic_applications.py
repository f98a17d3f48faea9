"""The other applications on the console: their declaration, workers, schedules and failures."""

from __future__ import annotations

import datetime
import json
import os
import time
from pathlib import Path
from typing import Any

import pika
import pytest
from fastapi.testclient import TestClient
from mosaic.config import Broker
from mosaic.gateway.lab.applications import (
    BEAT_SILENT_SECONDS,
    NO_EVENTS,
    SILENT_SECONDS,
    ApplicationWatch,
    schedule_of,
    worker_rows,
)
from mosaic.gateway.lab.declared import Application, read_declared
from mosaic.gateway.lab.events import MAX_FAILURES, MAX_TASKS, EventReader, Seen
from mosaic.gateway.lab.queues import queue_list
from mosaic.gateway.lab.states import Rates
from mosaic.ledger.database import transaction
from mosaic.ledger.models import Attempt

NOW = datetime.datetime.now(datetime.UTC)
SHOP: dict[str, Any] = {
    "name": "shop",
    "workers": [
        {"name": "default", "queues": ["celery", "host.%H"], "concurrency": 2, "prefetch": 4},
        {"name": "mail", "queues": ["mail"], "concurrency": 1, "options": ["--pool", "solo"]},
    ],
    "beat": True,
}
DECLARED = {"applications": [SHOP], "broker": "127.0.0.1:1", "user": "events", "password": "p/1"}
HEARTBEAT = {
    "type": "worker-heartbeat",
    "hostname": "default@worker-1",
    "pid": 9,
    "active": 1,
    "processed": 40,
}
FAILED = {
    "type": "task-failed",
    "hostname": "default@worker-1",
    "uuid": "a",
    "timestamp": 1_700_000_001.0,
    "exception": "ValueError('no such picture')",
    "traceback": "Traceback\n  ...\nValueError: no such picture\n",
}
ENTRY = {
    "name": "nightly",
    "task": "shop.clean",
    "every": "<crontab: 0 4 * * *>",
    "last": None,
    "next": 1_700_000_400.5,
    "runs": 3,
}


def event(kind: str, **fields: Any) -> dict[str, Any]:
    """Return an event of the task `a`."""
    return {**FAILED, "type": kind, **fields}


def states(seen: Seen, reading: float | None = 60.0, **worker: Any) -> dict[str, tuple[str, str]]:
    """Return state and reason of each of shop's workers, by NAME@HOST."""
    shop = Application.model_validate({**SHOP, "workers": [{**one, **worker} for one in SHOP["workers"]]})
    rows = worker_rows(shop, ["worker-1", "worker-2"], seen.workers, reading, Rates())
    return {f"{row.name}@{row.host}": (row.state, row.reason) for row in rows}


def test_worker_that_sends_heartbeats_is_up_and_a_declared_one_that_sends_none_is_down() -> None:
    seen = Seen("shop")
    seen.take(HEARTBEAT)
    assert states(seen) == {
        "default@worker-1": ("up", ""),
        "mail@worker-1": ("down", "no heartbeat yet"),
        "default@worker-2": ("down", "no heartbeat yet"),
        "mail@worker-2": ("down", "no heartbeat yet"),
    }


def test_worker_is_down_when_it_stopped_or_is_silent() -> None:
    seen = Seen("shop")
    seen.take(HEARTBEAT)
    seen.workers["default@worker-1"].at -= SILENT_SECONDS + 1
    assert states(seen)["default@worker-1"] == ("down", "no heartbeat")
    seen.take({**HEARTBEAT, "type": "worker-offline"})
    assert states(seen)["default@worker-1"] == ("down", "stopped")


@pytest.mark.parametrize(
    ("reading", "options", "reason"),
    [
        (None, [], NO_EVENTS),
        (1.0, [], "the console has just started to read its events"),
        (60.0, ["--without-heartbeat"], "its option --without-heartbeat switches heartbeats off"),
        (60.0, ["--pool=solo"], "no heartbeat; a worker with the pool solo sends none while a task runs"),
    ],
)
def test_silence_that_proves_nothing_is_unknown(
    reading: float | None, options: list[str], reason: str
) -> None:
    seen = Seen("shop")
    seen.take(HEARTBEAT)
    seen.workers["default@worker-1"].at -= SILENT_SECONDS + 1
    assert states(seen, reading, options=options)["default@worker-1"] == ("unknown", reason)


def test_worker_has_its_figures_and_the_queues_of_its_host() -> None:
    seen = Seen("shop")
    seen.take(HEARTBEAT)
    first = worker_rows(Application.model_validate(SHOP), ["worker-1"], seen.workers, 60.0, Rates())[0]
    assert (first.application, first.busy, first.concurrency) == ("shop", 1, 2)
    assert first.queues == ["celery", "host.worker-1"]
    assert first.heard is not None


def test_failed_task_has_the_name_from_its_first_event() -> None:
    seen = Seen("shop")
    seen.take(event("task-received", name="shop.resize"))
    seen.take(event("task-started", pid=12))
    seen.take(FAILED)
    (failure,) = seen.failures
    assert (failure.application, failure.task, failure.host, failure.worker) == (
        "shop",
        "shop.resize",
        "worker-1",
        "default",
    )
    assert failure.error == "ValueError('no such picture')"
    assert failure.traceback.endswith("no such picture\n")
    assert seen.latest["shop.resize"].outcome == "failed"


def test_task_that_failed_and_whose_first_events_were_missed_is_shown_too() -> None:
    seen = Seen("shop")
    seen.take(FAILED)
    assert [failure.task for failure in seen.failures] == ["unknown"]


def test_what_is_kept_is_limited() -> None:
    seen = Seen("shop")
    for number in range(MAX_TASKS + 5):
        seen.take(event("task-received", uuid=str(number), name="shop.resize"))
    for number in range(MAX_FAILURES + 5):
        seen.take(event("task-failed", uuid=str(number), traceback="x" * 100_000))
    assert (len(seen.tasks), len(seen.failures)) == (MAX_TASKS, MAX_FAILURES)
    assert max(len(failure.traceback) for failure in seen.failures) < 10_000


@pytest.mark.parametrize(
    "body",
    [
        b"\x80\x05",
        b"[" * 100_000,
        b"null",
        b"[1, null, {}]",
        b'{"type": "worker-heartbeat"}',
        b'{"type": "worker-heartbeat", "hostname": "a", "active": [1]}',
        b'{"type": "task-failed", "hostname": "a", "uuid": 1, "timestamp": 1e400}',
        b'{"type": "task-failed", "hostname": "a", "uuid": 1, "timestamp": 1e20}',
        b'{"type": "beat-schedule", "hostname": "a", "entries": 5}',
    ],
)
def test_malformed_events_are_ignored_and_the_next_one_is_read(body: bytes) -> None:
    reader = EventReader(Broker(url="amqp://events@127.0.0.1:1/shop"), "gateway-1", "shop")
    properties = pika.BasicProperties(content_type="application/json")
    reader._on_message(None, None, properties, body)
    reader._on_message(None, None, properties, json.dumps([HEARTBEAT]).encode())
    assert list(reader.seen.workers) == ["default@worker-1"]


def test_pickled_event_is_never_read() -> None:
    reader = EventReader(Broker(url="amqp://events@127.0.0.1:1/shop"), "gateway-1", "shop")
    properties = pika.BasicProperties(content_type="application/x-python-serialize")
    reader._on_message(None, None, properties, json.dumps(HEARTBEAT).encode())
    assert reader.seen.workers == {}


def test_schedule_of_beat_has_the_latest_run_of_each_task() -> None:
    seen = Seen("shop")
    seen.take(
        {"type": "beat-schedule", "hostname": "beat@gateway-1", "entries": [ENTRY, {"name": "broken"}, 5]}
    )
    seen.take(event("task-received", name="shop.clean"))
    seen.take(event("task-started", pid=12))
    seen.take(event("task-succeeded", runtime=0.25))
    beat, (row,) = schedule_of(seen, 60.0)
    assert (beat.application, beat.state, beat.host) == ("shop", "up", "gateway-1")
    assert (row.name, row.every, row.sent, row.runs) == ("nightly", "crontab: 0 4 * * *", None, 3)
    assert row.next is not None
    assert row.last_run is not None
    assert (row.last_run.host, row.last_run.pid, row.last_run.seconds, row.last_run.outcome) == (
        "worker-1",
        12,
        0.25,
        "done",
    )


def test_beat_that_does_not_report_is_down() -> None:
    seen = Seen("shop")
    assert schedule_of(seen, 60.0)[0].state == "down"
    assert schedule_of(seen, None)[0].state == "unknown"
    seen.take({"type": "beat-schedule", "hostname": "beat@gateway-1", "entries": []})
    assert seen.beat is not None
    seen.beat.at -= BEAT_SILENT_SECONDS + 1
    assert schedule_of(seen, 60.0)[0].reason == "no report"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The declaration of one application."""
    path = tmp_path / "applications.json"
    path.write_text(json.dumps(DECLARED))
    return path


def test_declaration_names_the_vhost_of_each_application(file: Path) -> None:
    declared = read_declared(file)
    assert [application.name for application in declared.applications] == ["shop"]
    assert declared.worker_hosts == []
    assert declared.url("shop") == "amqp://events:p%2F1@127.0.0.1:1/shop"
    assert read_declared(file.with_name("absent.json")).applications == []


@pytest.mark.parametrize("text", ["", "[]", '{"applications": [{}]}', '{"password": 5, "user": "secret"}'])
def test_wrong_declaration_is_refused_without_its_secrets(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(ValueError, match=r"applications\.json") as refused:
        read_declared(file)
    assert "secret" not in str(refused.value)


def test_changed_declaration_needs_no_restart(file: Path) -> None:
    watch = ApplicationWatch("gateway-1", 10, lambda: None, file)
    try:
        watch.follow()
        assert watch.names == ["mosaic", "shop"]
        first = watch._readers["shop"]
        blog = {**SHOP, "name": "blog", "beat": False}
        file.write_text(json.dumps({**DECLARED, "applications": [SHOP, blog]}))
        os.utime(file, (time.time() + 5, time.time() + 5))
        watch.follow()
        assert watch.names == ["mosaic", "shop", "blog"]
        assert watch._readers["shop"] is first
        assert [beat.application for beat, _ in watch.schedules()] == ["shop"]
        hosts = ["worker-1", "worker-2"]
        file.write_text(json.dumps({**DECLARED, "worker_hosts": hosts, "applications": [SHOP, blog]}))
        watch.follow()
        assert sorted({row.host for row in watch.workers()}) == hosts
        file.write_text("{")
        watch.follow()
        assert watch.names == ["mosaic", "shop", "blog"], "a half-written file changes nothing"
        file.unlink()
        watch.follow()
        assert watch.names == ["mosaic"]
        assert first._stop.is_set()
    finally:
        watch.close()


def test_queues_of_each_application_come_together_and_those_of_others_are_left_out() -> None:
    documents = [
        {"name": name, "vhost": vhost}
        for vhost, name in (
            ("shop", "celery"),
            ("shop", "celeryev.console.1"),
            ("shop", "default@worker-1.celery.pidbox"),
            ("mosaic", "mosaic.render"),
            ("elsewhere", "celery"),
        )
    ]
    found = queue_list(documents, "", set(), ["mosaic", "shop"], {})
    assert [(queue.application, queue.name) for queue in found.queues] == [
        ("mosaic", "mosaic.render"),
        ("shop", "celery"),
    ]
    assert found.internal == 2


def test_failures_of_mosaic_come_from_the_ledger(client: TestClient) -> None:
    with transaction() as session:
        for outcome, error in (("done", None), ("failed", "no space left")):
            session.add(
                Attempt(
                    task_id=f"task-{outcome}",
                    task="mosaic.render",
                    host="worker-1",
                    pid=7,
                    started_at=NOW,
                    ended_at=NOW,
                    outcome=outcome,
                    error=error,
                )
            )
    found = client.get("/api/failures").json()
    assert found["applications"] == ["mosaic"]
    assert [(one["application"], one["task"], one["error"]) for one in found["failures"]] == [
        ("mosaic", "mosaic.render", "no space left")
    ]


@pytest.mark.parametrize("path", ["/workers", "/failures", "/queues", "/periodic"])
def test_pages_have_the_filter(client: TestClient, path: str) -> None:
    page = client.get(path)
    assert page.status_code == 200
    assert 'id="application"' in page.text
