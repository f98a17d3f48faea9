"""Pool processes that die: the worker's check for them, and the signal that ends them."""

from __future__ import annotations

import os
import signal
from typing import Any

import programs
import pytest
from celery import Celery
from celery.concurrency.base import BasePool
from celery.concurrency.prefork import TaskPool
from celery.concurrency.solo import TaskPool as SoloPool
from celery_durable.pool import PoolCheck

STUBBORN = """
import os, signal, sys, time
from billiard import Process, current_process
from celery import Celery, signals
from celery_durable import make_durable

app = Celery("shop")
if sys.argv[2] == "durable":
    make_durable(app)

@app.task(name="work")
def a_task(): ...

def work():
    current_process().name = sys.argv[1]
    signal.signal(getattr(signal, sys.argv[3]), lambda *_: sys.exit(1))  # as billiard does
    signals.task_prerun.send(sender=app.tasks["work"])
    try:
        print(os.getpid(), flush=True)
        time.sleep(20)
    except BaseException:  # a database driver during a transaction
        print("alive", flush=True)
        time.sleep(20)

if sys.argv[1] == "MainProcess":
    work()
else:
    process = Process(target=work)
    process.start()
    process.join()
    sys.exit(process.exitcode)
"""


class Hub:
    """As far as a step needs it."""

    def __init__(self) -> None:
        self.timers: dict[Any, float] = {}

    def call_repeatedly(self, seconds: float, what: Any) -> None:
        """Remember it."""
        self.timers[what] = seconds


class Worker:
    """A worker with a pool."""

    def __init__(self, pool: BasePool) -> None:
        self.pool = pool


def test_prefork_pools_are_checked_twice_a_second(app: Celery) -> None:
    assert PoolCheck in app.steps["worker"]
    hub, worker = Hub(), Worker(TaskPool(1))
    PoolCheck(worker).register_with_event_loop(worker, hub)
    assert hub.timers == {worker.pool.maintain_pool: 0.5}


def test_other_pools_are_not(app: Celery) -> None:
    hub, worker = Hub(), Worker(SoloPool(1))
    PoolCheck(worker).register_with_event_loop(worker, hub)
    assert hub.timers == {}


def told_to_end(name: str, kind: str, number: signal.Signals) -> tuple[bool, int]:
    """Signal a process that runs a task and lets nothing end it; return whether it lived, and its status."""
    process = programs.start(STUBBORN, name, kind, number.name, REMAP_SIGTERM=number.name)
    try:
        assert process.stdout is not None
        target = int(process.stdout.readline())
        os.kill(target, number)
        alive = process.stdout.readline() == "alive\n"
        if alive:
            os.kill(target, signal.SIGKILL)
        return alive, process.wait(10)
    finally:
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_pool_process_that_is_told_to_end_ends(number: signal.Signals) -> None:
    """Whatever the task does with exceptions: billiard's handler raises one."""
    assert told_to_end("ForkPoolWorker-1", "durable", number) == (False, 128 + number)


@pytest.mark.parametrize("name", ["MainProcess", "Process-1"])
def test_no_other_process_ends_so(name: str) -> None:
    """A web server that runs a task eagerly, a worker with --pool solo, a process of the application."""
    alive, _ = told_to_end(name, "durable", signal.SIGTERM)
    assert alive


def test_pool_processes_of_other_applications_are_left_alone() -> None:
    alive, _ = told_to_end("ForkPoolWorker-1", "plain", signal.SIGTERM)
    assert alive
