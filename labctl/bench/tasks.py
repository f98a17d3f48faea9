"""The suites `drain` and `scale`: workers of the measuring program drain a queue that was filled before."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from labctl.bench.arms import Arm, Suite
from labctl.bench.figures import Run
from labctl.bench.programs import READY_S, Program, started
from labctl.bench.suite import Bench
from labctl.errors import LabError

PROGRAM = "celery_load.py"
PLAIN, DURABLE = "plain", "durable"
POLL_S = 0.02
STALL_S = 60.0
ARGUMENT_BYTES = 100
DRAIN_PROCESSES = 2  # of each worker
# Name, kind and seconds of a task, and how many: full, quick.
WORK = (
    ("no-op", "none", 0.0, 3000, 600),
    ("10 ms I/O", "io", 0.01, 2000, 400),
    ("10 ms CPU", "cpu", 0.01, 600, 120),
)
SCALE_PROCESSES = 4
SCALE_TASK = ("io", 0.1)
HOSTS = (1, 3, 6)


@dataclass(frozen=True)
class Filling:
    """What a queue is filled with: tasks of a kind and a duration in seconds."""

    queue: str
    task: tuple[str, float]
    count: int


@contextmanager
def drain(bench: Bench) -> Iterator[Suite]:
    """Plain Celery and durable workers on all worker hosts."""
    workers = bench.hosts["workers"]
    with _publisher(bench) as publisher, ExitStack() as stack:
        pools = {
            profile: stack.enter_context(_workers(bench, profile, DRAIN_PROCESSES))
            for profile in (PLAIN, DURABLE)
        }
        for pool in pools.values():
            _wait_until_ready(pool)
        arms = [
            _arm(
                f"{name}, {profile}",
                publisher,
                pools[profile],
                Filling(profile, (kind, seconds), bench.size(*counts)),
                base=f"{name}, {PLAIN}" if profile == DURABLE else "",
            )
            for name, kind, seconds, *counts in WORK
            for profile in pools
        ]
        yield Suite(
            f"{len(workers)} worker hosts with {DRAIN_PROCESSES} pool processes each; plain: Celery's default"
            " settings with a classic queue; durable: make_durable, so a quorum queue and acknowledgements"
            " after the work",
            arms,
            guard=arms[1],
        )


@contextmanager
def scale(bench: Bench) -> Iterator[Suite]:
    """The same tasks with one worker host, and with more."""
    workers = bench.hosts["workers"]
    counts = sorted({count for count in HOSTS if count < len(workers)} | {len(workers)})
    with _publisher(bench) as publisher, _workers(bench, DURABLE, SCALE_PROCESSES) as pool:
        _wait_until_ready(pool)
        each = bench.size(200, 60)
        names = {count: f"{count} worker host{'s' if count > 1 else ''}" for count in counts}
        arms = [
            _arm(
                name,
                publisher,
                pool[:count],
                Filling(DURABLE, SCALE_TASK, each * count),
                base=names[1] if count > 1 else "",
            )
            for count, name in names.items()
        ]
        yield Suite(
            f"tasks that wait for {SCALE_TASK[1] * 1000:.0f} ms, {each} for each host, {SCALE_PROCESSES} pool"
            " processes on each host; durable settings",
            arms,
            guard=arms[-1],
        )


@contextmanager
def _publisher(bench: Bench) -> Iterator[Program]:
    settings = {"part": "publisher", "password": bench.password}
    with started(bench.context.substrate, bench.hosts["gateways"][:1], PROGRAM, settings) as (program,):
        program.read(READY_S)
        yield program


@contextmanager
def _workers(bench: Bench, profile: str, processes: int) -> Iterator[list[Program]]:
    settings = {"part": "worker", "password": bench.password, "profile": profile, "concurrency": processes}
    with started(bench.context.substrate, bench.hosts["workers"], PROGRAM, settings) as programs:
        yield programs


def _wait_until_ready(programs: Sequence[Program]) -> None:
    for program in programs:
        program.read(READY_S)


def _arm(name: str, publisher: Program, pool: Sequence[Program], filling: Filling, base: str) -> Arm:
    def fill() -> None:
        publisher.ask(fill=filling.queue, task=filling.task, count=filling.count, bytes=ARGUMENT_BYTES)

    return Arm(name, lambda: drained(pool, filling.count), fill, base)


def drained(pool: Sequence[Program], count: int) -> Run:
    """Let the workers consume until they have done `count` tasks. Raises LabError when they do no more.

    The time is from the first start of a task to the last end, by the clocks of the hosts.
    """
    for program in pool:
        program.send(consume=True)
    reports: dict[str, dict[str, float]] = {}
    done, moved = 0.0, time.monotonic()
    while done < count:
        for program in pool:
            found = program.poll(POLL_S)
            if found and found.get("done"):
                reports[program.host] = found
        total = sum(report["done"] for report in reports.values())
        if total > done:
            done, moved = total, time.monotonic()
        elif time.monotonic() - moved > STALL_S * pool[0].patience:
            raise LabError(
                f"The workers have done {done:.0f} of {count} tasks, and none for"
                f" {time.monotonic() - moved:.0f} s; ./lab status shows the state of the lab."
            )
    for program in pool:
        program.send(consume=False)
    for program in pool:
        while program.read(STALL_S).get("consuming", True):
            pass
    first = min(report["first"] for report in reports.values())
    last = max(report["last"] for report in reports.values())
    return Run({"tasks/s": done / (last - first) if last > first else math.inf}, round(done))
