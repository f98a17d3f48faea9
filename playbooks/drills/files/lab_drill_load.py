"""Publishes a task of any Celery application at a constant rate, and records each message in a file.

The application's own code and configuration publish: `apply_async` of the task. The first line of stdin is
the plan, a JSON object: `app` as for `celery -A`, `task`, `args`, `kwargs`. If tasks are to be published, it
has also `run`, `rate` (a second), `limit` (seconds) and `folder`. Events are JSON lines on stdout, first
{"event": "ready", "queue": ...} or {"event": "refused", "why": ..., "tasks": [...]}. More lines of stdin:

    {"hold": true}   publish a task that the witness keeps running; a "published" event has its number
    {"stop": true}   publish no more; counting continues

The end of stdin ends the program. Lines of the file are {"at", "unit", "kind", "publisher", "state"}: a unit
is `attempted`; then `confirmed` when the call has returned, or `unknown` when it raised an exception.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

COUNT_S = 0.5
PUBLISHER = "application"
_out = threading.Lock()


def report(event: str, **fields: Any) -> None:
    """Print an event."""
    with _out:
        print("\n" + json.dumps({"event": event, "at": round(time.time(), 3), **fields}), flush=True)


def find_task(plan: dict[str, Any]) -> tuple[Any, str] | None:
    """Return the task and its queue; None if there is none, which is reported."""
    from celery.app.utils import find_app

    app: Any = find_app(plan["app"])
    app.loader.import_default_modules()
    app.finalize()
    task = app.tasks.get(plan["task"])
    if task is None:
        own = sorted(name for name in app.tasks if not name.startswith("celery."))
        report("refused", why="unknown task", tasks=own)
        return None
    if app.conf.task_always_eager:
        report("refused", why="task_always_eager")
        return None
    if task.typing and hasattr(task, "__header__"):
        try:
            task.__header__(*plan["args"], **plan["kwargs"])
        except TypeError as error:
            report("refused", why="arguments", error=str(error))
            return None
    options = app.amqp.router.route(task._get_exec_options(), task.name, plan["args"], plan["kwargs"])
    queue = options.get("queue") or app.conf.task_default_queue
    return task, str(getattr(queue, "name", queue))


class Load:
    """Publishes with one thread."""

    def __init__(self, plan: dict[str, Any], task: Any) -> None:
        """Create the file; it is never overwritten."""
        self._plan = plan
        self._task = task
        self._numbers = itertools.count(1)
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        path = Path(plan["folder"]) / f"{plan['run']}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o640)

    def serve(self) -> None:
        """Publish and count until stdin ends, or publish until the plan's time limit."""
        for work in (self._publish_steadily, self._count):
            threading.Thread(target=work, daemon=True).start()
        limit = threading.Timer(float(self._plan["limit"]), self._stopped.set)
        limit.daemon = True
        limit.start()
        report("started")
        for line in sys.stdin:
            if "hold" in json.loads(line):
                threading.Thread(target=self._publish, args=("held",), daemon=True).start()
            else:
                self._stopped.set()

    def _publish_steadily(self) -> None:
        pause, due = 1 / float(self._plan["rate"]), time.monotonic()
        while not self._stopped.is_set():
            self._publish("work")
            # After a pause the rate is as before. A burst would hide how long the recovery took.
            due = max(due + pause, time.monotonic())
            self._stopped.wait(due - time.monotonic())

    def _publish(self, kind: str) -> None:
        with self._lock:
            unit = next(self._numbers)
        task_id = f"{self._plan['run']}-{unit}" + ("-held" if kind == "held" else "")
        self._enter(unit, kind, "attempted")
        try:
            self._task.apply_async(self._plan["args"], self._plan["kwargs"], task_id=task_id)
        except Exception as error:  # noqa: BLE001 - the application's transport decides which
            print(f"unit {unit} is unknown: {error!r}", file=sys.stderr, flush=True)
            self._enter(unit, kind, "unknown")
        else:
            self._enter(unit, kind, "confirmed")
        if kind == "held":
            report("published", unit=unit, id=task_id)

    def _enter(self, unit: int, kind: str, state: str) -> None:
        entry = {
            "at": round(time.time(), 4),
            "unit": unit,
            "kind": kind,
            "publisher": PUBLISHER,
            "state": state,
        }
        with self._lock:
            os.write(self._file, (json.dumps(entry) + "\n").encode())
            os.fdatasync(self._file)
            self._counts[state] += 1

    def _count(self) -> None:
        while True:
            with self._lock:
                counts = {state: self._counts[state] for state in ("attempted", "confirmed", "unknown")}
            report("counted", **counts)
            time.sleep(COUNT_S)


def main() -> None:
    plan = json.loads(sys.stdin.readline())
    found = find_task(plan)
    if found:
        task, queue = found
        report("ready", queue=queue)
        if "run" in plan:
            Load(plan, task).serve()
    sys.stdout.flush()
    os._exit(0)  # does not wait for threads that the application started, nor for a broker


if __name__ == "__main__":
    main()
