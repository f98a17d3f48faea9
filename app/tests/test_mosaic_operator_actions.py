"""Actions on jobs: cancelling, listing attempts, reaching the limits; and the pages of the console."""

from __future__ import annotations

import asyncio
import io
import uuid
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest
from celery import Celery
from conftest import RecordingPublisher
from fastapi import FastAPI
from fastapi.testclient import TestClient
from mosaic.config import Config, Database, Lab
from mosaic.gateway.errors import ApiError
from mosaic.gateway.lab.declared import Declared
from mosaic.gateway.lab.watch import LabWatch
from mosaic.gateway.limits import Admission
from mosaic.kinds import NAMES
from mosaic.kinds.render import assemble
from mosaic.ledger import work
from mosaic.ledger.database import transaction
from mosaic.ledger.models import Attempt, Blob, Job, Part
from PIL import Image
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from test_mosaic_gateway import VIEW, run_all

HTML = {"Accept": "text/html,application/xhtml+xml"}


def submit(client: TestClient) -> str:
    """Submit a picture of six tiles; return the job."""
    return str(client.post("/api/jobs/render", json=VIEW).json()["job"])


def test_cancelled_job_starts_nothing_more(
    client: TestClient, app: Celery, publisher: RecordingPublisher
) -> None:
    job = submit(client)
    app.tasks["mosaic.render.tile"].apply(args=(job, 0))
    answer = client.post(f"/api/jobs/{job}/cancel")
    assert answer.json() == {"job": job, "state": "cancelled"}
    run_all(app, publisher)
    shown = client.get(f"/api/jobs/{job}").json()
    assert (shown["state"], shown["done"]) == ("cancelled", 1)
    assert [part["state"] for part in shown["parts"]] == ["done", *["cancelled"] * 5]
    with transaction() as session:
        outcomes = session.scalars(select(Attempt.outcome).order_by(Attempt.id)).all()
    assert outcomes == ["done", "duplicate", *["discarded"] * 5]
    assert client.post(f"/api/jobs/{job}/cancel").json()["state"] == "cancelled"


def test_part_that_runs_while_its_job_is_cancelled_has_no_effect(
    client: TestClient, app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(client)
    from mosaic.kinds.render import task

    whole = task.render_png

    def cancel_meanwhile(*arguments: Any) -> bytes:
        client.post(f"/api/jobs/{job}/cancel")
        return whole(*arguments)

    monkeypatch.setattr(task, "render_png", cancel_meanwhile)
    app.tasks["mosaic.render.tile"].apply(args=(job, 0))
    with transaction() as session:
        assert session.scalars(select(Attempt.outcome)).all() == ["discarded"]
        assert session.scalars(select(Blob)).all() == []
        assert set(session.scalars(select(Part.state))) == {"cancelled"}


def test_done_job_stays_done(client: TestClient, app: Celery, publisher: RecordingPublisher) -> None:
    job = submit(client)
    run_all(app, publisher)
    assert client.post(f"/api/jobs/{job}/cancel").json()["state"] == "done"
    assert client.post(f"/api/jobs/{uuid.UUID(int=5)}/cancel").status_code == 404


def test_attempts_are_listed(client: TestClient, app: Celery, publisher: RecordingPublisher) -> None:
    job = submit(client)
    assert client.get(f"/api/jobs/{job}/attempts").json() == {"attempts": []}
    run_all(app, publisher)
    app.tasks["mosaic.render.tile"].apply(args=(job, 3))
    attempts = client.get(f"/api/jobs/{job}/attempts").json()["attempts"]
    assert (len(attempts), attempts[0]["part"], attempts[0]["outcome"]) == (7, 3, "duplicate")
    assert all(one["host"] == "worker-1" and one["pid"] > 1 and one["seconds"] >= 0 for one in attempts)
    of_part = client.get(f"/api/jobs/{job}/attempts", params={"part": 3}).json()["attempts"]
    assert [one["number"] for one in of_part] == [2, 1]
    assert client.get(f"/api/jobs/{uuid.UUID(int=5)}/attempts").status_code == 404


def test_small_picture_is_made_once(
    client: TestClient, app: Celery, publisher: RecordingPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(client)
    assert client.get(f"/api/jobs/{job}/thumbnail").status_code == 404
    run_all(app, publisher)
    first = client.get(f"/api/jobs/{job}/thumbnail")
    assert Image.open(io.BytesIO(first.content)).size == (96, 64)
    monkeypatch.setattr(assemble, "thumbnail", lambda *_: pytest.fail("it is made again"))
    assert client.get(f"/api/jobs/{job}/thumbnail").content == first.content


def test_making_a_small_picture_needs_a_place_as_a_large_one_does(
    client: TestClient, app: Celery, publisher: RecordingPublisher
) -> None:
    job = submit(client)
    run_all(app, publisher)
    state = cast(FastAPI, client.app).state
    free, full = state.assemblies, Admission(1, 0, 0.1, "too many")
    state.assemblies = full
    for path in ("image", "thumbnail"):
        assert client.get(f"/api/jobs/{job}/{path}").status_code == 429, path
    state.assemblies = free
    made = client.get(f"/api/jobs/{job}/thumbnail")
    state.assemblies = full
    assert client.get(f"/api/jobs/{job}/thumbnail").content == made.content, "a kept one needs none"


def test_failed_part_gets_another_chance(client: TestClient, app: Celery) -> None:
    job = submit(client)
    with transaction() as session:
        work.give_up(session, uuid.UUID(job), 2, "dropped")
    assert client.get(f"/api/jobs/{job}").json()["error"] == "part 2: dropped"
    with transaction() as session:
        work.revive(session, uuid.UUID(job), 2)
    shown = client.get(f"/api/jobs/{job}").json()
    assert (shown["state"], shown["error"], shown["parts"][2]["state"]) == ("running", None, "accepted")
    for index in range(6):
        app.tasks["mosaic.render.tile"].apply(args=(job, index))
    assert client.get(f"/api/jobs/{job}").json()["state"] == "done"
    with transaction() as session:
        work.revive(session, uuid.UUID(job), 2)
        work.revive(session, uuid.UUID(int=5), 0)
    assert client.get(f"/api/jobs/{job}").json()["state"] == "done"


def test_full_lab_sends_away_with_a_sentence(client: TestClient) -> None:
    client.app.state.max_running_jobs = 2  # type: ignore[attr-defined]
    answers = [client.post("/api/jobs/render", json=VIEW) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [202, 202, 429, 429]
    assert answers[2].json()["error"].startswith("2 jobs are running already")
    assert answers[2].headers["retry-after"] == "5"
    with transaction() as session:
        assert len(session.scalars(select(Job)).all()) == 2


def test_admission_serves_some_lets_some_wait_and_refuses_the_rest() -> None:
    async def visit(admission: Admission, seconds: float) -> int:
        try:
            async with admission.place():
                await asyncio.sleep(seconds)
        except ApiError as error:
            return error.status
        return 202

    async def scene(seconds: float) -> Counter[int]:
        admission = Admission(8, 64, 0.2, "too many")
        return Counter(await asyncio.gather(*(visit(admission, seconds) for _ in range(100))))

    assert asyncio.run(scene(0.001)) == {202: 72, 429: 28}
    assert asyncio.run(scene(0.5)) == {202: 8, 429: 92}


def test_nobody_waits_for_a_database_that_is_away(
    client: TestClient, publisher: RecordingPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(client)
    published = len(publisher.calls)
    monkeypatch.setattr("mosaic.gateway.lab.watch.LabWatch.database_is_away", True)
    for path in ("/api/jobs", f"/api/jobs/{job}", f"/api/jobs/{job}/attempts", "/api/logs", "/api/beat"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["error"][:12]) == (503, "the database"), path
    assert client.post("/api/jobs/render", json=VIEW).status_code == 503
    assert len(publisher.calls) == published
    assert client.get("/api/lab").status_code in (200, 503)
    assert client.get("/", headers=HTML).status_code == 200


def test_no_broker_at_all_is_known_before_anything_is_entered(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mosaic.gateway.lab.watch.LabWatch.brokers_are_down", True)
    answer = client.post("/api/jobs/render", json=VIEW)
    assert (answer.status_code, answer.json()["error"][:15]) == (503, "no broker is up")
    with transaction() as session:
        assert session.scalars(select(Job)).all() == []


@pytest.mark.parametrize("path", ["/", "/jobs", "/queues", "/logs", "/periodic", "/charts"])
def test_pages_have_a_frame_and_nothing_inline(client: TestClient, path: str) -> None:
    page = client.get(path, headers=HTML)
    assert page.status_code == 200
    assert f'href="{path}" aria-current="page"' in page.text
    assert "<h1>" in page.text
    for inline in ("<style", "style=", "onclick=", "javascript:"):
        assert inline not in page.text
    assert page.text.count("<script") == page.text.count('<script type="module" src=') + page.text.count(
        "<script src="
    ) + page.text.count("<script defer src=")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_logs_of_every_host_can_be_chosen(config: Config) -> None:
    database = Database(url="postgresql+psycopg://mosaic:unused@database-1:5432/mosaic")
    watch = LabWatch(config.model_copy(update={"host": "gateway-1", "database": database}))
    lab = Lab(brokers=("broker-1",), prometheus_url="https://monitor-1:9090/prometheus")
    watch._config = watch._config.model_copy(update={"lab": lab})
    watch.applications.declared = Declared(worker_hosts=["worker-1"])
    assert watch.every_host == ["broker-1", "database-1", "gateway-1", "monitor-1", "worker-1"]


@pytest.mark.parametrize("monitor", ["", "https://monitor-1:9090/prometheus"])
def test_pages_link_to_the_guarded_pages_that_there_are(
    client: TestClient, config: Config, monkeypatch: pytest.MonkeyPatch, monitor: str
) -> None:
    lab = config.lab.model_copy(update={"prometheus_url": monitor})
    application = cast(FastAPI, client.app)
    monkeypatch.setattr(application.state, "config", config.model_copy(update={"lab": lab}))
    page = client.get("/", headers=HTML).text
    assert 'href="/rabbitmq/"' in page
    assert [f'href="/{name}/"' in page for name in ("flower", "prometheus")] == [bool(monitor)] * 2


def test_files_of_the_pages_are_there_and_asked_for_each_time(client: TestClient) -> None:
    page = client.get("/charts", headers=HTML).text
    files = [part for part in page.split('"') if part.startswith("/static/")]
    assert {Path(file.partition("?")[0]).suffix for file in files} == {".css", ".js", ".svg"}
    for file in files:
        answer = client.get(file)
        assert answer.status_code == 200, file
        assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("kind", NAMES)
def test_page_of_a_job(client: TestClient, kind: str) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (30, 20)).save(picture, "PNG")
    options: dict[str, dict[str, Any]] = {
        "render": {"json": VIEW},
        "scale": {"files": {"file": ("a.png", picture.getvalue())}},
        "digest": {"content": b"some words", "headers": {"Content-Type": "text/plain"}},
        "primes": {"json": {}},
    }
    job = client.post(f"/api/jobs/{kind}", **options[kind]).json()["job"]
    page = client.get(f"/jobs/{job}", headers=HTML)
    assert page.status_code == 200
    assert f'data-job="{job}" data-kind="{kind}"' in page.text


def test_page_that_is_not_there_says_so_to_people(client: TestClient) -> None:
    page = client.get("/nothing", headers=HTML)
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "There is nothing at /nothing." in page.text
    assert client.get(f"/jobs/{uuid.UUID(int=5)}", headers=HTML).status_code == 404
    assert client.get("/nothing").json() == {"error": "there is nothing at /nothing."}


def test_page_waits_for_the_database(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise OperationalError("SELECT 1", {}, ConnectionError("gone"))

    monkeypatch.setattr("mosaic.ledger.jobs.summaries", away)
    page = client.get(f"/jobs/{uuid.UUID(int=5)}", headers=HTML)
    assert page.status_code == 503
    assert "The database does not answer" in page.text
    assert "/static/away.js" in page.text
