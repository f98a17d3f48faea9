"""The console while parts of the lab are unavailable. Screenshots: .lab/reports/screenshots."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.lab import browser as web
from tests.lab.commands import UserLab, docker, wait_for

RED_SECONDS = 3.0
CUT_SECONDS = 30
FREEZE_SECONDS = 20
REFUSED_SECONDS = 5.0
BROKERS = ("broker-1", "broker-2", "broker-3")
TINY = {"width": 64, "height": 64, "tile": 64, "iterations": 10}


def try_to_freeze(container: str) -> bool:
    """Freeze a container; return whether that worked: on cgroup v1 it fails while processes fork."""
    try:
        docker("pause", container)
    except subprocess.CalledProcessError as error:
        if "unable to freeze" in error.stderr:
            return False
        raise
    return True


@contextmanager
def frozen(lab: UserLab, *names: str) -> Iterator[None]:
    """Freeze these hosts: they keep their connections and send nothing."""
    with ExitStack() as thawing:
        for container in [f"{lab.name}-{name}" for name in names]:
            wait_for(f"{container} is frozen", FREEZE_SECONDS, partial(try_to_freeze, container))
            thawing.callback(docker, "unpause", container)
        yield


def assert_red_soon(card: Locator) -> None:
    """Assert that the card of a host that has just failed turns red in time."""
    since = time.monotonic()
    expect(card).to_have_class(re.compile(r"\bdown\b"), timeout=10_000)
    assert time.monotonic() - since < RED_SECONDS


def newest(console: httpx.Client) -> str:
    """Name of the latest job."""
    return str(console.get("/api/jobs?limit=1").json()["jobs"][0]["job"])


def brokers_are_up(console: httpx.Client) -> bool:
    """Whether the console shows every broker as up."""
    return all(broker["state"] == "up" for broker in console.get("/api/lab").json()["brokers"])


def test_killed_worker_turns_red_and_the_picture_completes(
    page: Page, spare_lab: UserLab, console: httpx.Client
) -> None:
    view = {"width": 1280, "height": 896, "tile": 64, "iterations": 6000, "center_x": -0.7}
    job = console.post("/api/jobs/render", json=view).json()["job"]
    card = page.locator("#workers .host", has=page.get_by_role("heading", name="worker-2"))
    expect(card).to_have_class(re.compile(r"\bup\b"))
    docker("kill", f"{spare_lab.name}-worker-2")
    assert_red_soon(card)
    web.keep_screenshot(page, "worker-killed")
    page.goto(f"/jobs/{job}")
    wait_for("the picture", 180, lambda: console.get(f"/api/jobs/{job}").json()["state"] == "done")
    expect(page.locator("#state")).to_have_text("done")
    assert web.legend(page) == console.get(f"/api/jobs/{job}").json()["by_host"]
    web.keep_screenshot(page, "job-with-a-dead-host")
    page.goto("/")
    docker("start", f"{spare_lab.name}-worker-2")
    expect(card).to_have_class(re.compile(r"\bup\b"), timeout=90_000)


@pytest.mark.parametrize("name", ["broker-3", "worker-3"])
def test_frozen_host_turns_red_and_green_again(page: Page, spare_lab: UserLab, name: str) -> None:
    card = page.locator(".host", has=page.get_by_role("heading", name=name))
    expect(card).to_have_class(re.compile(r"\bup\b"))
    with frozen(spare_lab, name):
        assert_red_soon(card)
        web.keep_screenshot(page, f"{name}-frozen")
    expect(card).to_have_class(re.compile(r"\bup\b"), timeout=60_000)


def test_database_failure_is_shown_without_a_reload(page: Page, spare_lab: UserLab) -> None:
    database = f"{spare_lab.name}-database-1"
    docker("stop", "--time", "20", database)
    try:
        expect(page.locator("#banner")).to_contain_text("The database on database-1 does not answer")
        web.keep_screenshot(page, "database-away")
    finally:
        docker("start", database)
    expect(page.locator("#banner")).to_be_hidden(timeout=60_000)
    expect(page.locator("#workers .host.up").first).to_be_visible(timeout=30_000)


def test_stream_that_is_silent_for_half_a_minute_catches_up(
    page: Page, spare_lab: UserLab, console: httpx.Client
) -> None:
    view = {"width": 1024, "height": 1024, "tile": 64, "iterations": 8000, "center_x": -0.6}
    job = console.post("/api/jobs/render", json=view).json()["job"]
    page.goto(f"/jobs/{job}")
    expect(page.locator("#counts")).to_contain_text("of 256 parts")
    with frozen(spare_lab, "gateway-1"):
        cut = time.monotonic()
        expect(page.locator("#offline")).to_be_visible(timeout=CUT_SECONDS * 1000)
        web.keep_screenshot(page, "gateway-silent")
        page.wait_for_timeout(max(0.0, CUT_SECONDS - (time.monotonic() - cut)) * 1000)
    expect(page.locator("#offline")).to_be_hidden(timeout=30_000)
    expect(page.locator("#state")).to_have_text("done", timeout=120_000)
    assert web.legend(page) == console.get(f"/api/jobs/{job}").json()["by_host"]


def test_submission_without_any_broker_is_refused_soon_and_leaves_nothing(
    page: Page, spare_lab: UserLab, console: httpx.Client
) -> None:
    console.post("/api/jobs/render", json=TINY).raise_for_status()
    before = newest(console)
    page.goto("/jobs")
    with frozen(spare_lab, *BROKERS):
        # The first submission comes before the console detects the failure, later ones after it.
        for _ in range(3):
            started = time.monotonic()
            answer = console.post("/api/jobs/render", json=TINY)
            assert time.monotonic() - started < REFUSED_SECONDS
            assert (answer.status_code, "broker" in answer.json()["error"]) == (503, True)
            assert newest(console) == before
        page.get_by_role("button", name="Render", exact=True).click()
        expect(page.locator("#render .error")).to_contain_text("roker", timeout=REFUSED_SECONDS * 1000)
        web.keep_screenshot(page, "brokers-away")
        assert newest(console) == before
    wait_for("a job is taken", 60, lambda: console.post("/api/jobs/render", json=TINY).status_code == 202)
    job = newest(console)
    wait_for("the job", 60, lambda: console.get(f"/api/jobs/{job}").json()["state"] == "done")
    wait_for("every broker", 90, lambda: brokers_are_up(console))
