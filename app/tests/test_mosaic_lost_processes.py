"""Pool processes that die: the worker's look for them, and the signal that ends them for sure."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import pytest
from celery import Celery
from mosaic.lost_processes import LostProcesses


def test_every_worker_looks_for_lost_processes_twice_a_second(app: Celery) -> None:
    class Hub:
        def __init__(self) -> None:
            self.timers: dict[Any, float] = {}

        def call_repeatedly(self, seconds: float, what: Any) -> None:
            self.timers[what] = seconds

    class Worker:
        class pool:  # noqa: N801 - as the worker's attribute is called
            @staticmethod
            def maintain_pool() -> None:
                """As celery.concurrency.prefork.TaskPool has it."""

    assert LostProcesses in app.steps["worker"]
    hub = Hub()
    LostProcesses(Worker()).register_with_event_loop(Worker(), hub)
    assert hub.timers == {Worker.pool.maintain_pool: 0.5}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_process_that_is_told_to_end_ends(number: signal.Signals) -> None:
    """Whatever the task does with exceptions: billiard's handler raises one."""
    code = (
        "import signal, sys, time\n"
        "from celery import signals\n"
        "import mosaic.celery\n"
        f"signal.signal({int(number)}, lambda *_: sys.exit(1))\n"
        "signals.task_prerun.send(sender=None)\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    try:\n"
        "        time.sleep(60)\n"
        "    except BaseException:\n"
        "        pass\n"
    )
    environment = {**os.environ, "REMAP_SIGTERM": number.name}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.wait(10) == 128 + number
    finally:
        process.kill()
