"""The load of a drill: it publishes units at a constant rate, and stores each in the ledger.

It reads commands as JSON lines from stdin and writes events as JSON lines to stdout. The end of stdin ends
the load, so it never runs longer than the process that started it.

    {"publish": "poison"}    publish one unit of that kind; {"publish": "hog", "seconds": 90}
    {"hold": "worker-2", "seconds": 60, "wait": 3}    publish units, and wait 3 s for the start of each, until
                             one starts on that host; a "held" event shows it. The unit runs until the next
                             hold or the stop, for at most 60 s
    {"stop": true}           publish no more units; counting continues
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from amqp.exceptions import AMQPError
from kombu.exceptions import KombuError
from sqlalchemy.exc import SQLAlchemyError

from celery_durable import Unconfirmed
from mosaic.drill.units import Hold
from mosaic.ledger import drills
from mosaic.ledger.database import clock, transaction
from mosaic.ledger.drills import Unit
from mosaic.ledger.jobs import TaskCall
from mosaic.publish import publish

logger = logging.getLogger(__name__)

COUNT_SECONDS = 0.5
HOLD_TRIES = 12
CLOCK_SAMPLES = 5
BATCH = 5
ATTEMPTED = "attempted"
CONFIRMED = "confirmed"
UNKNOWN = "unknown"
NOT_KNOWN = (Unconfirmed, AMQPError, KombuError, OSError)


class LedgerFile:
    """Lines {"at", "unit", "kind", "publisher", "state"}; `at` in seconds since 1970, `state` one of three.

    A unit is `attempted` before it is sent. Then it is `confirmed`, or `unknown` without a publisher confirm.
    If a publisher sends several units together, all are attempted before the first is sent. All are confirmed
    at the time of the last confirm, or all are unknown if one confirm is missing.
    """

    def __init__(self, path: Path) -> None:
        """Create the file. Raises FileExistsError: the ledger of a run is never overwritten."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o640)
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def enter(self, at: float, unit: int, kind: str, publisher: str, state: str) -> None:
        """Append one line and wait until it is on disk."""
        entry = {"at": round(at, 4), "unit": unit, "kind": kind, "publisher": publisher, "state": state}
        with self._lock:
            os.write(self._descriptor, (json.dumps(entry) + "\n").encode())
            os.fdatasync(self._descriptor)
            self._counts[state] += 1

    def count(self, state: str) -> int:
        """Return the number of lines with this state."""
        with self._lock:
            return self._counts[state]


@dataclass(frozen=True)
class Publisher:
    """`send` publishes up to `batch` calls. It raises one of NOT_KNOWN if one was not confirmed."""

    send: Callable[[Sequence[TaskCall]], None]
    batch: int = 1


def publishers() -> dict[str, Publisher]:
    """Return the publishers by name: Celery's own, and the window of celery_durable."""
    from mosaic.celery import current_app

    app = current_app()

    def one_by_one(calls: Sequence[TaskCall]) -> None:
        for call in calls:
            app.send_task(call.task, args=call.args, task_id=call.task_id)

    return {"celery": Publisher(one_by_one), "window": Publisher(partial(publish, app), BATCH)}


@dataclass(frozen=True)
class Plan:
    """What to publish: `rate` units a second in total, of `seconds` each, for at most `limit` seconds."""

    run: str
    rate: float
    seconds: float
    limit: float


class Load:
    """Publishes units, with one thread for each publisher, and counts the published and the executed ones."""

    def __init__(self, plan: Plan, ledger: LedgerFile, publishers: Mapping[str, Publisher]) -> None:
        """Prepare the load. Does not connect yet."""
        self._plan = plan
        self._ledger = ledger
        self._publishers = publishers
        self._numbers = itertools.count(1)
        self._stopped = threading.Event()
        self._ended = threading.Event()
        self._out = threading.Lock()
        self._offset = 0.0
        self._executed: int | None = None
        self._held: Hold | None = None

    def serve(self, commands: Iterable[str]) -> None:
        """Publish and count until `commands` ends or the plan's time limit is reached."""
        self._offset = clock_offset()
        self._report("started")
        threads = [threading.Thread(target=self._count, name="count", daemon=True)]
        threads += [
            threading.Thread(target=self._publish_steadily, args=(name,), name=name, daemon=True)
            for name in self._publishers
        ]
        for thread in threads:
            thread.start()
        limit = threading.Timer(self._plan.limit, self._stopped.set)
        limit.daemon = True
        limit.start()
        for line in commands:
            self._execute(json.loads(line))
        self._stopped.set()
        self._ended.set()
        threads[0].join(timeout=2)

    def _execute(self, command: dict[str, Any]) -> None:
        if "stop" in command:
            self._stopped.set()
            self._release()
        elif "publish" in command:
            kind = str(command["publish"])
            arguments = [command["seconds"]] if "seconds" in command else []
            publisher = next(iter(self._publishers))
            unit = next(self._numbers)
            self._publish([unit], publisher, kind, arguments)
            self._report("published", unit=unit, kind=kind)
        elif "hold" in command:
            arguments = [command["hold"], command["seconds"], command["wait"]]
            threading.Thread(target=self._hold, args=arguments, daemon=True).start()

    def _publish_steadily(self, publisher: str) -> None:
        batch = self._publishers[publisher].batch
        pause = batch * len(self._publishers) / self._plan.rate
        due = time.monotonic()
        while not self._stopped.is_set():
            units = [next(self._numbers) for _ in range(batch)]
            self._publish(units, publisher, "work", [self._plan.seconds])
            # After a pause the rate is as before. A burst would hide how long the recovery took.
            due = max(due + pause, time.monotonic())
            self._stopped.wait(due - time.monotonic())

    def _publish(self, units: Sequence[int], publisher: str, kind: str, arguments: list[Any]) -> None:
        run = self._plan.run
        calls = [TaskCall(f"mosaic.drill.{kind}", (run, unit, *arguments), f"{run}-{unit}") for unit in units]
        for unit in units:
            self._ledger.enter(self._now(), unit, kind, publisher, ATTEMPTED)
        state = CONFIRMED
        try:
            self._publishers[publisher].send(calls)
        except NOT_KNOWN as error:
            logger.warning("no publisher confirm for units %s: %r", ", ".join(map(str, units)), error)
            state = UNKNOWN
        at = self._now()
        for unit in units:
            self._ledger.enter(at, unit, kind, publisher, state)

    def _hold(self, host: str, seconds: float, wait: float) -> None:
        self._release()
        publisher = next(iter(self._publishers))
        for _ in range(HOLD_TRIES):
            unit = Unit(self._plan.run, next(self._numbers))
            hold = Hold(unit)
            self._publish([unit.number], publisher, "held", [seconds])
            runner = self._wait_for_start(unit, wait)
            if runner is not None and runner[0] == host:
                self._held = hold
                self._report("held", unit=unit.number, host=host, pid=runner[1])
                return
            hold.release()
        self._report("not held", host=host)

    def _release(self) -> None:
        if self._held is not None:
            self._held.release()
            self._held = None

    @staticmethod
    def _wait_for_start(unit: Unit, wait: float) -> tuple[str, int] | None:
        deadline = time.monotonic() + wait
        while time.monotonic() < deadline:
            with transaction() as session:
                runner = drills.runner_of(session, unit)
            if runner is not None:
                return runner
            time.sleep(0.02)
        return None

    def _count(self) -> None:
        while not self._ended.wait(COUNT_SECONDS):
            try:
                with transaction() as session:
                    self._executed = drills.executed(session, self._plan.run)
            except SQLAlchemyError:
                logger.info("the database does not answer; counting continues")
            states = {state: self._ledger.count(state) for state in (ATTEMPTED, CONFIRMED, UNKNOWN)}
            self._report("counted", executed=self._executed, **states)

    def _now(self) -> float:
        return time.time() + self._offset

    def _report(self, event: str, **fields: Any) -> None:
        with self._out:
            print(json.dumps({"event": event, "at": round(self._now(), 3), **fields}), flush=True)


def clock_offset() -> float:
    """Return the database's clock minus this host's in seconds, from the quickest of several answers."""
    best, offset = float("inf"), 0.0
    for _ in range(CLOCK_SAMPLES):
        with transaction() as session:
            before = time.time()
            there = clock(session).timestamp()
            after = time.time()
        if after - before < best:
            best, offset = after - before, there - (before + after) / 2
    return offset
