"""Pool processes: their end is detected soon, and SIGTERM ends them reliably."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

from billiard.common import TERM_SIGNAL
from billiard.process import current_process
from celery import bootsteps

CHECK_SECONDS = 0.5


class PoolCheck(bootsteps.StartStopStep):
    """A step of every worker: it checks its prefork pool every CHECK_SECONDS instead of every 5 s.

    A process that has closed its pipe, but has not ended yet, is only found by the next check.
    """

    requires = ("celery.worker.components:Pool",)

    def register_with_event_loop(self, worker: Any, hub: Any) -> None:
        """Add the check to the worker's event loop, whenever it starts."""
        from celery.concurrency.prefork import TaskPool  # not in a producer

        if isinstance(worker.pool, TaskPool):
            hub.call_repeatedly(CHECK_SECONDS, worker.pool.maintain_pool)


def exit_on_sigterm() -> None:
    """Let the worker's signal end this pool process at once, as the worker expects.

    The worker sends it to cancel tasks when its broker connection is lost. billiard turns the signal into a
    SystemExit, which is lost if a database driver raises another error during a transaction. The process then
    continues but counts as terminated, and the task that it runs when it ends later is acknowledged as
    revoked, so it is lost. billiard sets its handler after worker_process_init, so that signal would be too
    early.

    Does nothing outside a pool process: a task can also run in a web server (eager), or in the worker's
    process (solo, threads, gevent).
    """
    if is_pool_process() and threading.current_thread() is threading.main_thread():
        signal.signal(TERM_SIGNAL, _exit)  # SIGTERM, or the signal in REMAP_SIGTERM


def is_pool_process() -> bool:
    """Return whether this process is one of a prefork pool."""
    return "PoolWorker" in current_process().name  # ForkPoolWorker-1


def _exit(number: int, _frame: FrameType | None) -> None:
    os._exit(128 + number)
