"""Records the start and the end of a drill's tasks in a worker of any Celery application.

A worker loads it with `--include lab_drill`. It reads these variables of the environment:

    LAB_DRILL_RUN      ids of the drill's tasks begin with it; other tasks are not recorded
    LAB_DRILL_FOLDER   a folder of the worker, for `witness.jsonl`
    LAB_DRILL_DRY      if set: every task sleeps so many seconds instead of doing its work

Each line of the file is {"id", "event", "at", "pid"}: `event` is "start" or "end", `at` is in seconds since
1970. An "end" has the task's `state` too. A line is on disk before the task goes on.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from celery import signals
from celery.app import default_app

RUN = os.environ["LAB_DRILL_RUN"]
FOLDER = Path(os.environ["LAB_DRILL_FOLDER"])
DRY = os.environ.get("LAB_DRILL_DRY", "")
HELD_S = 120.0  # at most, if the drill does not release the task
POLL_S = 0.2


def witness(task_id: str, event: str, **fields: Any) -> None:
    """Append one line and wait until it is on disk."""
    entry = {"id": task_id, "event": event, "at": round(time.time(), 4), "pid": os.getpid(), **fields}
    descriptor = os.open(FOLDER / "witness.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    try:
        os.write(descriptor, (json.dumps(entry) + "\n").encode())
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


@signals.task_prerun.connect
def _started(task_id: str, task: Any, **_: Any) -> None:
    if not task_id.startswith(f"{RUN}-"):
        return
    witness(task_id, "start")
    again = (task.request.delivery_info or {}).get("redelivered")
    if task_id.endswith("-held") and not again:
        _hold(task_id)


def _hold(task_id: str) -> None:
    """Keep the task running until the drill releases it: a fault is to interrupt it."""
    released, deadline = FOLDER / f"released-{task_id}", time.monotonic() + HELD_S
    while time.monotonic() < deadline and not released.exists():
        time.sleep(POLL_S)


@signals.task_postrun.connect
def _ended(task_id: str, state: str | None = None, **_: Any) -> None:
    if task_id.startswith(f"{RUN}-"):
        witness(task_id, "end", state=str(state))


@signals.celeryd_after_setup.connect
def _replace_bodies(**_: Any) -> None:
    if not DRY:
        return
    seconds = float(DRY)
    for name, task in default_app.tasks.items():
        if name.startswith("celery."):
            continue
        task.run = lambda *_args, **_options: time.sleep(seconds)
        # The application's own __call__ may need what only its real body prepares.
        type(task).__call__ = lambda self, *args, **options: self.run(*args, **options)
