"""The suites `parts` and `latency`: renders through the API, as users submit them."""

import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, Self

import httpx

from labctl.bench.arms import Arm, Suite
from labctl.bench.figures import Run
from labctl.bench.suite import Bench
from labctl.console_api import Console
from labctl.errors import LabError

TILE, ITERATIONS = 32, 100
RUNNING = "running"
POLL_S = 0.25
STALL_S = 60.0
LISTED = 20  # of the latest jobs, and two for each that is waited for: others submit too
CANCEL_S = 10.0
LOADS = (0.0, 0.5, 0.9)  # of the parts a second that the lab can do
LOAD_GRID = (8, 5)  # tiles of a job of the load
PROBE_GRID = (2, 2)
CLOCK_GRID = (14, 10)  # runs longer than one request takes
PAUSE_S = 0.3  # between two probes

Summary = dict[str, Any]


def view(columns: int, rows: int) -> dict[str, object]:
    """A render of the whole set with so many tiles."""
    return {"width": columns * TILE, "height": rows * TILE, "tile": TILE, "iterations": ITERATIONS}


class Jobs:
    """The jobs of a suite. What still runs at the end of the block is cancelled; jobs stay in the list."""

    def __init__(self, console: Console, patience: float) -> None:
        self.console = console
        self._stall = STALL_S * patience
        self._open: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for job in self._open:
            with suppress(httpx.HTTPError):
                self.console.ask_once("POST", f"/api/jobs/{job}/cancel", CANCEL_S)
        self.console.close()

    def submit(self, request: dict[str, object]) -> str:
        """Submit a render; returns its id."""
        job = self.console.submit_render(request, "normal")
        self._open.add(job)
        return job

    def wait(self, jobs: Sequence[str]) -> list[Summary]:
        """Wait until jobs are done. Raises LabError when one ended otherwise, or nothing moves any more."""
        done, moved = -1, time.monotonic()
        listed = LISTED + 2 * len(jobs)
        while True:
            latest = self.console.get("/api/jobs", limit=listed).json()["jobs"]
            own = [job for job in latest if job["job"] in jobs]
            for job in own:
                if job["state"] not in (RUNNING, "done"):
                    raise LabError(
                        f"Job {job['job']} was {job['state']}; ./lab logs mosaic-worker@render shows why."
                    )
            if len(own) == len(jobs) and all(job["state"] == "done" for job in own):
                self._open -= set(jobs)
                return own
            total = sum(job["done"] for job in own)
            if total > done:
                done, moved = total, time.monotonic()
            elif time.monotonic() - moved > self._stall:
                raise LabError(
                    f"No part was done for {self._stall:.0f} s; ./lab status shows which queues each worker"
                    " host consumes."
                )
            time.sleep(POLL_S)

    def rate(self, jobs: Sequence[str]) -> tuple[float, int]:
        """Parts a second from the first submission to the last end, and their number."""
        summaries = self.wait(jobs)
        began = min(moment(job["created"]) for job in summaries)
        ended = max(moment(job["created"]) + job["seconds"] for job in summaries)
        parts = sum(job["total"] for job in summaries)
        return parts / (ended - began), parts


def moment(text: str) -> float:
    """A time of the API in seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


@contextmanager
def parts(bench: Bench) -> Iterator[Suite]:
    """Renders of many small tiles."""
    one, four = ((40, 28), (20, 14)) if not bench.quick else ((14, 10), (7, 5))
    with _jobs(bench) as jobs:

        def arm(name: str, grids: Sequence[tuple[int, int]], base: str = "") -> Arm:
            def run() -> Run:
                rate, count = jobs.rate([jobs.submit(view(*grid)) for grid in grids])
                return Run({"parts/s": rate}, count)

            return Arm(name, run, base=base)

        large = f"1 job of {one[0] * one[1]} parts"
        arms = [arm(large, [one]), arm(f"4 jobs of {four[0] * four[1]} parts", [four] * 4, large)]
        yield Suite(
            f"renders of the whole set through the API: tiles of {TILE} x {TILE} pixels, {ITERATIONS}"
            " iterations",
            arms,
            guard=arms[0],
        )


@contextmanager
def latency(bench: Bench) -> Iterator[Suite]:
    """Small renders while others load the lab."""
    probes = bench.size(10, 3)
    with _jobs(bench) as jobs:
        capacity, _ = jobs.rate([jobs.submit(view(*LOAD_GRID)) for _ in range(bench.size(12, 4))])
        offset = _clock_offset(jobs)

        def arm(share: float) -> Arm:
            def run() -> Run:
                with _Load(jobs, share * capacity, bench.size(4, 1)):
                    found = [_probe(jobs, offset) for _ in range(probes)]
                first, pixels = zip(*found, strict=True)
                return Run(
                    {
                        "s, submit to first tile": statistics.median(first),
                        "s, tile to pixels": statistics.median(pixels),
                    }
                )

            return Arm(f"{share:.0%} load", run, base="0% load" if share else "")

        arms = [arm(share) for share in LOADS]
        yield Suite(
            f"medians of {probes} renders of {PROBE_GRID[0] * PROBE_GRID[1]} tiles, followed as a browser"
            f" does; the load is a share of {capacity:.0f} parts/s, the rate without a pause just before",
            arms,
            guard=arms[0],
        )


@contextmanager
def _jobs(bench: Bench) -> Iterator[Jobs]:
    substrate = bench.context.substrate
    console = Console(substrate.url(), bench.context.paths, substrate.console_password())
    with Jobs(console, substrate.patience()) as jobs:
        yield jobs


class _Load:
    """Submits renders at a steady rate during the block; its end waits until they are done."""

    def __init__(self, jobs: Jobs, parts_a_second: float, settle: float) -> None:
        """Parts a second; `settle`: seconds before the block begins."""
        self._jobs = jobs
        self._rate = parts_a_second / (LOAD_GRID[0] * LOAD_GRID[1])
        self._settle = settle
        self._ended = threading.Event()
        self._submitted: list[str] = []
        self._error: LabError | None = None
        self._thread = threading.Thread(target=self._submit, daemon=True)

    def __enter__(self) -> None:
        if self._rate:
            self._thread.start()
            time.sleep(self._settle)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._ended.set()
        if self._thread.ident:
            self._thread.join()
        if kind is None:
            if self._error:
                raise self._error
            self._jobs.wait(self._submitted)

    def _submit(self) -> None:
        due = time.monotonic()
        while not self._ended.wait(max(0.0, due - time.monotonic())):
            due += 1 / self._rate
            try:
                self._submitted.append(self._jobs.submit(view(*LOAD_GRID)))
            except LabError as error:
                self._error = error
                return


def _clock_offset(jobs: Jobs) -> float:
    """The database's clock minus that of this machine, in seconds."""
    job = jobs.submit(view(*CLOCK_GRID))
    asked = time.time()
    found = jobs.console.get(f"/api/jobs/{job}").json()
    answered = time.time()
    jobs.wait([job])
    # It runs for so long by the database's clock, so that is the time there.
    return moment(found["created"]) + float(found["seconds"]) - (asked + answered) / 2


def _probe(jobs: Jobs, offset: float) -> tuple[float, float]:
    """Seconds from the submission of a small render to its first tile, and from a tile's end to its pixels.

    Pixels are there when this machine has them; the second figure is the median of the tiles.
    """
    time.sleep(PAUSE_S)
    asked = time.time()
    job = jobs.submit(view(*PROBE_GRID))
    seen: dict[int, float] = {}
    try:
        for kind, data in jobs.console.follow(f"/api/jobs/{job}/events", tiles=True):
            if kind == "tiles":
                seen |= {int(index): time.time() for index in data if int(index) not in seen}
    except httpx.HTTPError as error:
        raise LabError(
            f"The events of job {job} ended ({error}); ./lab status shows the state of the lab."
        ) from error
    ended = {
        part["part"]: moment(part["ended"]) for part in jobs.console.get(f"/api/jobs/{job}").json()["parts"]
    }
    for index in ended.keys() - seen.keys():  # it was done before the stream began, as the page then does
        jobs.console.get(f"/api/jobs/{job}/tiles/{index}.png")
        seen[index] = time.time()
    jobs.wait([job])
    late = [at - (ended[index] - offset) for index, at in seen.items()]
    return min(seen.values()) - asked, statistics.median(late)
