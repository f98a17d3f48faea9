"""Thousands of jobs at once: admission control accepts some and refuses the rest; pages still answer."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import Counter

import httpx

from tests.lab.commands import UserLab, wait_for

JOBS = 3_000  # ten times the limit of running jobs
AT_ONCE = 100
PAGE_SECONDS = 3.0
TINY = {"width": 16, "height": 16, "tile": 16, "iterations": 10}


def test_flood_of_jobs(spare_lab: UserLab, url: str, trust: ssl.SSLContext, console: httpx.Client) -> None:
    statuses, sentences, slowest = asyncio.run(flood(url, trust, spare_lab.password))
    assert set(statuses) == {202, 429}, statuses
    assert sum(statuses.values()) == JOBS
    assert all(sentence.endswith(".") for sentence in sentences), sentences
    assert slowest < PAGE_SECONDS
    wait_for("the jobs that were taken", 120, lambda: nothing_runs(console))


def nothing_runs(console: httpx.Client) -> bool:
    """Whether no job runs any more."""
    return bool(console.get("/api/lab").json()["work"]["running_jobs"] == 0)


async def flood(url: str, trust: ssl.SSLContext, password: str) -> tuple[Counter[int], set[str], float]:
    """Submit all; return the count of each status, the sentences, and the time of the slowest page (s)."""
    statuses: Counter[int] = Counter()
    sentences: set[str] = set()
    left = iter(range(JOBS))
    done = asyncio.Event()

    def one_connection() -> httpx.AsyncClient:
        """Return a client with one connection: in a shared pool, a page would wait behind the jobs."""
        return httpx.AsyncClient(
            base_url=url,
            auth=("lab", password),
            verify=trust,
            timeout=60,
            trust_env=False,
            limits=httpx.Limits(max_connections=1),
        )

    async def submit() -> None:
        async with one_connection() as client:
            for _ in left:
                answer = await client.post("/api/jobs/render", json=TINY)
                statuses[answer.status_code] += 1
                if answer.status_code != 202:
                    sentences.add(answer.json()["error"])

    async def look() -> float:
        slowest = 0.0
        async with one_connection() as client:
            while not done.is_set():
                started = time.monotonic()
                answer = await client.get("/")
                assert answer.status_code == 200
                slowest = max(slowest, time.monotonic() - started)
                await asyncio.sleep(0.5)
        return slowest

    looking = asyncio.create_task(look())
    await asyncio.gather(*(submit() for _ in range(AT_ONCE)))
    done.set()
    return statuses, sentences, await looking
