"""Pool processes that die: noticed soon, and dead for sure when they were told to die."""

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
    """A step of every worker: its prefork pool is checked each CHECK_SECONDS, not each 5 s.

    A process that has closed its pipe, and is not quite gone yet, is else found at the next check only.
    """

    requires = ("celery.worker.components:Pool",)

    def register_with_event_loop(self, worker: Any, hub: Any) -> None:
        """Called by the worker whenever its event loop begins."""
        from celery.concurrency.prefork import TaskPool  # not in a producer

        if isinstance(worker.pool, TaskPool):
            hub.call_repeatedly(CHECK_SECONDS, worker.pool.maintain_pool)


def exit_on_sigterm() -> None:
    """Have the worker's signal end this pool process at once, as the worker takes for granted.

    The worker cancels tasks so when its broker connection is lost. billiard makes the signal a SystemExit,
    which is lost when a database driver in the middle of a transaction raises an error of its own. The
    process then lives on, counts as terminated, and the task that it runs when it dies later is acknowledged
    as revoked: a loss. billiard sets its handler after worker_process_init, so that would be too early.

    Does nothing outside a pool process: a task may also run in a web server (eager), or in the worker's own
    process (solo, threads, gevent).
    """
    if is_pool_process() and threading.current_thread() is threading.main_thread():
        signal.signal(TERM_SIGNAL, _exit)  # SIGTERM, or what REMAP_SIGTERM says


def is_pool_process() -> bool:
    """Return whether this process is one of a prefork pool."""
    return "PoolWorker" in current_process().name  # ForkPoolWorker-1


def _exit(number: int, _frame: FrameType | None) -> None:
    os._exit(128 + number)
