"""Notice pool processes that died sooner: Celery looks every 5 s, and acts at the second look."""

from __future__ import annotations

from typing import Any

from celery import bootsteps

LOOK_SECONDS = 0.5


class LostProcesses(bootsteps.StartStopStep):
    """A step of every worker that has its pool looked after each LOOK_SECONDS."""

    requires = ("celery.worker.components:Pool",)

    def register_with_event_loop(self, worker: Any, hub: Any) -> None:
        """Called by the worker whenever its event loop begins."""
        hub.call_repeatedly(LOOK_SECONDS, worker.pool.maintain_pool)
