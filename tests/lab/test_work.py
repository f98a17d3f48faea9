"""Jobs from submission to result, log records, and the login of a user."""

from __future__ import annotations

import time
from datetime import datetime
from functools import partial
from typing import Any

import httpx

from tests.lab.commands import UserLab, wait_for
from tests.lab.pictures import png, size_of

WORDS = "the quick brown fox jumps over the lazy dog "


def finish(console: httpx.Client, answer: httpx.Response, seconds: float = 60) -> dict[str, Any]:
    """Wait until a submitted job has ended; returns it."""
    assert answer.status_code == 202, answer.text
    job: dict[str, Any] = {}

    def ended() -> bool:
        job.update(console.get(f"/api/jobs/{answer.json()['job']}").json())
        return bool(job["state"] != "running")

    wait_for(f"{answer.request.url.path} ends", seconds, ended)
    return job


def assert_done(job: dict[str, Any]) -> None:
    """Assert that every part is done by a known process on a host, and that the sums agree."""
    assert (job["state"], job["error"]) == ("done", None), job
    assert job["done"] == job["total"] == len(job["parts"])
    assert [part["part"] for part in job["parts"]] == list(range(job["total"]))
    for part in job["parts"]:
        assert part["state"] == "done"
        assert part["pid"] > 1
        assert part["attempts"] >= 1
        assert job["created"] <= part["started"] <= part["ended"]
    assert sum(job["by_host"].values()) == job["total"]


def test_render(console: httpx.Client, lab: UserLab) -> None:
    view = {"width": 640, "height": 480, "tile": 64, "iterations": 300}
    answer = console.post("/api/jobs/render", json=view)
    assert answer.json()["parts"] == 80
    job = finish(console, answer)
    assert_done(job)
    assert set(job["by_host"]) <= set(lab.status()["workers"])
    assert len(job["by_host"]) >= 2, "one host rendered all tiles"
    image = console.get(f"/api/jobs/{job['job']}/image")
    assert image.headers["content-type"] == "image/png"
    assert size_of(image.content) == (640, 480)
    tinted = console.get(f"/api/jobs/{job['job']}/image", params={"tint": "host"})
    assert size_of(tinted.content) == (640, 480)
    assert tinted.content != image.content


def test_same_view_gives_the_same_picture(console: httpx.Client) -> None:
    """The result does not depend on the hosts that rendered it."""
    view = {"center_x": -0.7453, "center_y": 0.1127, "width_units": 0.0065, "width": 256, "height": 192}
    pictures: set[bytes] = set()
    hosts: list[set[str]] = [set() for _ in range(12)]
    for _ in range(6):
        job = finish(console, console.post("/api/jobs/render", json=view))
        pictures.add(console.get(f"/api/jobs/{job['job']}/image").content)
        for of_tile, part in zip(hosts, job["parts"], strict=True):
            of_tile.add(part["host"])
        if all(len(of_tile) >= 2 for of_tile in hosts):
            break
    assert max(map(len, hosts)) >= 2, "no tile was rendered by two hosts"
    assert len(pictures) == 1


def test_incomplete_picture_can_be_downloaded(console: httpx.Client) -> None:
    view = {"width": 1024, "height": 1024, "tile": 64, "iterations": 800}
    answer = console.post("/api/jobs/render", json=view)
    growing = console.get(f"/api/jobs/{answer.json()['job']}/image")
    assert size_of(growing.content) == (1024, 1024)
    assert_done(finish(console, answer, 120))


def test_small_high_job_does_not_wait_for_a_large_normal_one(console: httpx.Client) -> None:
    """It begins within 1 s; a normal job that was submitted before it does not."""
    view = {"width": 1280, "height": 1280, "tile": 64, "iterations": 1000}
    small = {"width": 128, "height": 128, "tile": 64, "iterations": 100}
    jobs = [submitted(console, "normal", view)]
    try:
        wait_for("the large job begins", 30, lambda: waited(console, jobs[0]) is not None, poll=0.1)
        jobs += [submitted(console, priority, small) for priority in ("normal", "high")]
        time.sleep(1)
        assert waited(console, jobs[1]) is None
        assert (waited(console, jobs[2]) or 9) < 1
    finally:
        for job in jobs:
            console.post(f"/api/jobs/{job}/cancel")


def submitted(console: httpx.Client, priority: str, view: dict[str, int]) -> str:
    """Submit a render; returns the job's id."""
    answer = console.post("/api/jobs/render", params={"priority": priority}, json=view)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job"])


def waited(console: httpx.Client, job: str) -> float | None:
    """Seconds from the submission of a job to the start of its first part, by the database's clock."""
    view = console.get(f"/api/jobs/{job}").json()
    starts = [datetime.fromisoformat(part["started"]) for part in view["parts"] if part["started"]]
    return (min(starts) - datetime.fromisoformat(view["created"])).total_seconds() if starts else None


def test_scale(console: httpx.Client) -> None:
    files = {"file": ("gradient.png", png(300, 200), "image/png")}
    job = finish(console, console.post("/api/jobs/scale", files=files, data={"sizes": "32,64,128"}))
    assert_done(job)
    assert job["total"] == 4, "three sizes and the contact sheet"
    sizes = console.get(f"/api/jobs/{job['job']}/result").json()["sizes"]
    assert [(item["edge"], item["width"], item["height"]) for item in sizes] == [
        (32, 32, 21),
        (64, 64, 43),
        (128, 128, 85),
    ]
    small = console.get(f"/api/jobs/{job['job']}/tiles/0.png").content
    assert size_of(small) == (32, 21)
    width, height = size_of(console.get(f"/api/jobs/{job['job']}/image").content)
    assert width > 3 * 128
    assert height > 128


def test_scale_of_a_damaged_picture_ends_with_its_reason(console: httpx.Client) -> None:
    """Its header is valid, so the API accepts it; its pixels are incomplete."""
    whole = png(400, 400)
    files = {"file": ("cut.png", whole[: len(whole) // 2], "image/png")}
    job = finish(console, console.post("/api/jobs/scale", files=files, data={"sizes": "64"}), 120)
    assert job["state"] == "failed"
    assert job["error"] or any(part["error"] for part in job["parts"])


def test_digest(console: httpx.Client) -> None:
    repeats = 40_000
    answer = console.post(
        "/api/jobs/digest", content=WORDS * repeats, headers={"Content-Type": "text/plain; charset=utf-8"}
    )
    job = finish(console, answer)
    assert_done(job)
    result = console.get(f"/api/jobs/{job['job']}/result").json()
    assert (result["words"], result["distinct"]) == (9 * repeats, 8)
    assert result["top"][0] == ["the", 2 * repeats]


def test_several_jobs_at_once(console: httpx.Client) -> None:
    view = {"width": 256, "height": 256, "tile": 64, "iterations": 200}
    picture = {"file": ("gradient.png", png(64, 64), "image/png")}
    answers = [console.post("/api/jobs/render", json=view) for _ in range(4)]
    answers += [console.post("/api/jobs/scale", files=picture, data={"sizes": "16"}) for _ in range(2)]
    for answer in answers:
        assert_done(finish(console, answer))
    listed = [job["job"] for job in console.get("/api/jobs", params={"limit": 50}).json()["jobs"]]
    assert {answer.json()["job"] for answer in answers} <= set(listed)


def test_log_record_of_each_host_is_stored_once(console: httpx.Client, lab: UserLab) -> None:
    """It goes from the host's journal through the exchange to the database and the API."""
    hosts = sorted({node["name"] for node in lab.status()["nodes"]})
    mark = f"check-{time.time_ns()}"
    for host in hosts:
        done = lab.run("shell", host, "logger", "--priority", "user.warning", f"{mark} {host}")
        assert done.status == 0, done
    for host in hosts:
        wait_for(f"the record of {host}", 60, partial(found, console, mark, host))
    time.sleep(1)
    for host in hosts:
        (record,) = found(console, mark, host)
        assert record["severity"] == "warning"


def found(console: httpx.Client, mark: str, host: str) -> list[dict[str, Any]]:
    """Records of a host with the mark."""
    answer = console.get("/api/logs", params={"host": host, "severity": "warning", "limit": 200})
    return [record for record in answer.json()["records"] if mark in record["message"]]


def test_beat_continues(console: httpx.Client) -> None:
    first = console.get("/api/beat").json()
    wait_for(
        "the next tick", 30, lambda: console.get("/api/beat").json()["last_tick"] > first["last_tick"], poll=1
    )


def test_user_logs_in_and_out(lab: UserLab, stranger: httpx.Client) -> None:
    form = {"username": "lab", "password": lab.password, "next": "/"}
    with httpx.Client(
        base_url=stranger.base_url, transport=stranger._transport, headers={"Accept": "text/html"}
    ) as browser:
        wrong = browser.post("/login", data={**form, "password": "wrong"})
        assert wrong.status_code == 401
        assert lab.password not in wrong.text
        answer = browser.post("/login", data=form)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        cookie = answer.headers["set-cookie"].lower()
        assert all(word in cookie for word in ("httponly", "secure", "samesite=strict"))
        page = browser.get("/")
        assert page.status_code == 200
        assert "<script" in page.text
        browser.post("/logout")
        assert browser.get("/").status_code == 303
