"""The load of a drill: units published at a steady rate, entered in the ledger, until told to stop.

Commands come as JSON lines on stdin, events leave as JSON lines on stdout. The end of stdin ends the load,
so that it never outlives whoever started it.

    {"publish": "poison"}    one unit of that kind; {"publish": "hog", "seconds": 90}
    {"hold": "worker-2", "seconds": 60, "wait": 3}    units, each awaited for 3 s, until one has begun on that
                             host, which a "held" event names; it stays at work until the next hold or the
                             stop, for 60 s at most
    {"stop": true}           no more units; counting goes on
"""

from __future__ import annotations

import itertools
import json
import logging
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from mosaic.drill.hold import Hold
from mosaic.drill.ledger_file import ATTEMPTED, CONFIRMED, UNKNOWN, LedgerFile
from mosaic.drill.publishers import NOT_KNOWN, Publisher
from mosaic.ledger import drills
from mosaic.ledger.database import transaction
from mosaic.ledger.drills import Unit
from mosaic.ledger.jobs import TaskCall

logger = logging.getLogger(__name__)

COUNT_SECONDS = 0.5
HOLD_TRIES = 12
CLOCK_SAMPLES = 5


@dataclass(frozen=True)
class Plan:
    """What to publish: `rate` units a second in all, of `seconds` each, for `limit` seconds at most."""

    run: str
    rate: float
    seconds: float
    limit: float


class Load:
    """Publishes units from one thread for each publisher; counts them, and those that were executed."""

    def __init__(self, plan: Plan, ledger: LedgerFile, publishers: Mapping[str, Publisher]) -> None:
        """Connect to nothing yet."""
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
        """Publish and count until `commands` ends or the plan's limit is reached."""
        self._offset = clock_offset()
        self._say("started")
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
            self._obey(json.loads(line))
        self._stopped.set()
        self._ended.set()
        threads[0].join(timeout=2)

    def _obey(self, command: dict[str, Any]) -> None:
        if "stop" in command:
            self._stopped.set()
            self._let_go()
        elif "publish" in command:
            kind = str(command["publish"])
            arguments = [command["seconds"]] if "seconds" in command else []
            publisher = next(iter(self._publishers))
            unit = next(self._numbers)
            self._publish([unit], publisher, kind, arguments)
            self._say("published", unit=unit, kind=kind)
        elif "hold" in command:
            thread = threading.Thread(
                target=self._hold, args=(command["hold"], command["seconds"], command["wait"]), daemon=True
            )
            thread.start()

    def _publish_steadily(self, publisher: str) -> None:
        batch = self._publishers[publisher].batch
        pause = batch * len(self._publishers) / self._plan.rate
        due = time.monotonic()
        while not self._stopped.is_set():
            units = [next(self._numbers) for _ in range(batch)]
            self._publish(units, publisher, "work", [self._plan.seconds])
            # After a stall the rate is as before: a burst would hide how long it took to recover.
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
            logger.warning("no confirm of units %s: %r", ", ".join(map(str, units)), error)
            state = UNKNOWN
        at = self._now()
        for unit in units:
            self._ledger.enter(at, unit, kind, publisher, state)

    def _hold(self, host: str, seconds: float, wait: float) -> None:
        self._let_go()
        publisher = next(iter(self._publishers))
        for _ in range(HOLD_TRIES):
            unit = Unit(self._plan.run, next(self._numbers))
            hold = Hold(unit)
            self._publish([unit.number], publisher, "held", [seconds])
            runner = self._wait_for_start(unit, wait)
            if runner is not None and runner[0] == host:
                self._held = hold
                self._say("held", unit=unit.number, host=host, pid=runner[1])
                return
            hold.release()
        self._say("not held", host=host)

    def _let_go(self) -> None:
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
                logger.info("the database does not answer; counting goes on")
            states = {state: self._ledger.count(state) for state in (ATTEMPTED, CONFIRMED, UNKNOWN)}
            self._say("counted", executed=self._executed, **states)

    def _now(self) -> float:
        return time.time() + self._offset

    def _say(self, event: str, **fields: Any) -> None:
        with self._out:
            print(json.dumps({"event": event, "at": round(self._now(), 3), **fields}), flush=True)


def clock_offset() -> float:
    """Return the database's clock minus this host's, in seconds, by the quickest of some questions."""
    best, offset = float("inf"), 0.0
    for _ in range(CLOCK_SAMPLES):
        with transaction() as session:
            before = time.time()
            there = drills.clock(session).timestamp()
            after = time.time()
        if after - before < best:
            best, offset = after - before, there - (before + after) / 2
    return offset


def serve(plan: Plan, folder: Path, publishers: Mapping[str, Publisher]) -> None:
    """Run the load with the commands of stdin; the ledger is `<folder>/<run>.jsonl`."""
    Load(plan, LedgerFile(folder / f"{plan.run}.jsonl"), publishers).serve(sys.stdin)
