"""Pool processes that die: noticed soon, and dead for sure when they were told to die."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

from billiard.common import TERM_SIGNAL
from celery import bootsteps, signals

LOOK_SECONDS = 0.5


class LostProcesses(bootsteps.StartStopStep):
    """A step of every worker that has its pool looked after each LOOK_SECONDS, not each 5 s.

    A process that has closed its pipe, and is not quite gone yet, is else found at the next look only.
    """

    requires = ("celery.worker.components:Pool",)

    def register_with_event_loop(self, worker: Any, hub: Any) -> None:
        """Called by the worker whenever its event loop begins."""
        hub.call_repeatedly(LOOK_SECONDS, worker.pool.maintain_pool)


@signals.task_prerun.connect
def die_when_told_to(**_: Any) -> None:
    """Have the worker's signal end this process at once, as the worker takes for granted.

    The worker cancels tasks so when its broker connection is lost. billiard makes the signal a SystemExit,
    which is lost when a database driver in the middle of a transaction raises an error of its own. The
    process then lives on, counts as terminated, and the task that it runs when it dies later is acknowledged
    as revoked: a loss. billiard sets its handler after worker_process_init, so that would be too early.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(TERM_SIGNAL, _end)  # SIGTERM, or what REMAP_SIGTERM says


def _end(number: int, _frame: FrameType | None) -> None:
    os._exit(128 + number)
