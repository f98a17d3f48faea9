"""Parts that take minutes (half a minute here): progress, a host that fails during a part, cancellation."""

from __future__ import annotations

import datetime
import time
from typing import Any

import httpx

from tests.lab.commands import UserLab, docker, wait_for

# Each of two parts takes about 25 s of a core. The number of primes and the largest prime are known.
UP_TO, PRIMES, LARGEST = 2 * 10**10, 882206716, 19999999967
SMALL = {"width": 256, "height": 256, "tile": 64, "iterations": 200}
MOST_AGAIN = 0.1
CANCEL_SECONDS = 2.0


def submit(console: httpx.Client, kind: str, **wanted: Any) -> str:
    """Submit a job; return it."""
    answer = console.post(f"/api/jobs/{kind}", json=wanted)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job"])


def job(console: httpx.Client, name: str) -> dict[str, Any]:
    """The job with its parts."""
    found: dict[str, Any] = console.get(f"/api/jobs/{name}").json()
    return found


def attempts(console: httpx.Client, name: str, part: int) -> list[dict[str, Any]]:
    """The attempts at a part, the oldest first."""
    answer = console.get(f"/api/jobs/{name}/attempts", params={"part": part})
    return list(reversed(answer.json()["attempts"]))


def seconds_of(moment: str) -> float:
    """A time of the API as seconds since the epoch; all containers use the same clock."""
    return datetime.datetime.fromisoformat(moment).timestamp()


def state(console: httpx.Client, name: str) -> str:
    """State of a job."""
    return str(job(console, name)["state"])


def test_other_hosts_resume_parts_of_a_host_without_power_and_of_a_restarted_worker(
    spare_lab: UserLab, console: httpx.Client
) -> None:
    name = submit(console, "primes", up_to=UP_TO, parts=2)
    shares: list[list[float]] = [[], []]

    def are_at(share: float) -> bool:
        for part, seen in zip(job(console, name)["parts"], shares, strict=False):
            seen.append(part["progress"] or 0.0)
        return min(seen[-1] for seen in shares) >= share

    wait_for("the first progress", 60, lambda: are_at(0.001))
    wait_for("half of each part", 400, lambda: are_at(0.4))
    for seen in shares:
        assert seen == sorted(seen)
        assert len({share for share in seen if share}) > 5, "progress comes each second"
    off, restarted = (part["host"] for part in job(console, name)["parts"][:2])
    assert off != restarted
    done = spare_lab.run("shell", restarted, "systemctl", "restart", "mosaic-worker@long")
    assert done.status == 0, str(done)
    part = job(console, name)["parts"][0]
    docker("kill", f"{spare_lab.name}-{off}")
    killed = time.time()
    try:
        wait_for("another host", 60, lambda: job(console, name)["parts"][0]["host"] != off)
        wait_for("the result", 400, lambda: state(console, name) != "running")
        lost, resumed = attempts(console, name, 0)
        # Progress of the lost attempt when its host failed, estimated from the pace of its last report.
        pace = part["progress"] / (seconds_of(part["reported"]) - seconds_of(part["started"]))
        computed = part["progress"] + pace * (killed - seconds_of(part["reported"]))
        assert (lost["host"], lost["outcome"], lost["began"]) == (off, "lost", None)
        assert resumed["outcome"] == "done"
        assert resumed["redelivered"]
        assert part["progress"] <= resumed["began"]
        assert computed - resumed["began"] <= MOST_AGAIN
        assert 0 < resumed["again"] * pace <= MOST_AGAIN
        first, second = attempts(console, name, 1)
        assert (first["outcome"], second["outcome"]) == ("lost", "done")
        assert second["began"] >= 0.4
        result = console.get(f"/api/jobs/{name}/result").json()
        assert (result["primes"], result["largest"]) == (PRIMES, LARGEST)
        assert {off, resumed["host"], second["host"]} <= set(result["seconds"])
        assert 0 < result["again"] <= MOST_AGAIN * sum(result["seconds"].values())
        assert job(console, name)["error"] is None
    finally:
        docker("start", f"{spare_lab.name}-{off}")
        spare_lab.wait_until_healthy(180)


def running(console: httpx.Client, name: str) -> list[dict[str, Any]]:
    """Attempts that have not ended."""
    found = console.get(f"/api/jobs/{name}/attempts").json()["attempts"]
    return [one for one in found if one["outcome"] is None]


def test_long_parts_on_every_host_do_not_delay_short_work_and_end_when_cancelled(
    lab: UserLab, console: httpx.Client
) -> None:
    hosts = sorted(lab.status()["workers"])
    name = submit(console, "primes", up_to=10**11, parts=len(hosts) + 1)
    wait_for(
        "a part on every host",
        60,
        lambda: sorted(one["host"] for one in running(console, name)) == hosts,
    )
    tick = console.get("/api/beat").json()["last_tick"]
    short = submit(console, "render", **SMALL)
    wait_for("a picture", 60, lambda: state(console, short) == "done")
    wait_for("the next tick", 30, lambda: console.get("/api/beat").json()["last_tick"] > tick)
    assert len(running(console, name)) == len(hosts), "the last part waits for one of them"
    assert console.post(f"/api/jobs/{name}/cancel").json()["state"] == "cancelled"
    cancelled = time.monotonic()
    wait_for("the end of every attempt", 10, lambda: not running(console, name), poll=0.05)
    assert time.monotonic() - cancelled < CANCEL_SECONDS
    shown = job(console, name)
    assert (shown["done"], shown["total"]) == (0, len(hosts) + 2)
    assert {one["state"] for one in shown["parts"]} == {"cancelled"}
    assert console.get(f"/api/jobs/{name}/result").status_code == 404
