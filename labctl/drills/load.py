"""The load's process on a gateway, as `mosaic drill load` runs there; it ends when its stdin does."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from labctl.drills.definition import LoadShape, SingleTask
from labctl.drills.targets import Held
from labctl.errors import LabError
from labctl.substrates.base import Substrate

UNIT = "lab-drill-load"
START_S = 30.0
HOLD_S = 45.0
START_OF_UNIT_S = 3.0
HELD_S = 60.0  # at most, of the unit that a fault is to interrupt: longer than a playbook takes to act
PUBLISH_S = 60.0
PROGRAM = "/opt/mosaic/venv/bin/mosaic"


class NotHeldError(LabError):
    """No unit got to work where the fault is to hit."""


@dataclass(frozen=True)
class Counts:
    """Units so far: attempted, confirmed, unknown, and executed as the database says."""

    attempted: int = 0
    confirmed: int = 0
    unknown: int = 0
    executed: int = 0


def mosaic(*arguments: str, unit: str = "") -> list[str]:
    """Command line that runs `mosaic` as its own user with the host's configuration, and plain Celery's."""
    words = ["systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--uid=mosaic", "--gid=mosaic"]
    words += [f"--unit={unit}"] if unit else []
    words += ["--working-directory=/var/lib/mosaic", "--property=EnvironmentFile=-/etc/mosaic/stock.env"]
    return [*words, PROGRAM, *arguments]


class Load:
    """A running load. As a context manager it ends with the block, whatever happens in it."""

    def __init__(
        self,
        substrate: Substrate,
        host: str,
        *,
        run: str,
        profile: str,
        shape: LoadShape,
        limit: float,
        log: Path,
    ) -> None:
        """Start it on `host`; raises LabError when nothing begins in time. `log` keeps what it says."""
        arguments = ["drill", "load", run, f"--profile={profile}", f"--rate={shape.rate}"]
        arguments += [f"--seconds={shape.seconds}", f"--limit={limit}"]
        self._patience = substrate.patience()
        self._counts = Counts()
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        self._log = log.open("w", encoding="utf-8")
        self._path = log
        words = substrate.shell(host, mosaic(*arguments, unit=UNIT))
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,  # Ctrl-C is for ./lab, which ends the load when it has healed the lab
        )
        threading.Thread(target=self._read, name="load", daemon=True).start()
        started = self._wait("started", START_S)
        self.offset = float(started["at"]) - time.time()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def counts(self) -> Counts:
        """Counts of the last half second."""
        return self._counts

    def now(self) -> float:
        """The database's time, by which the ledger's entries go."""
        return time.time() + self.offset

    def hold(self, host: str) -> Held:
        """Have a long unit at work on `host`; raises NotHeldError when none gets there, and LabError."""
        self._send(
            {"hold": host, "seconds": HELD_S * self._patience, "wait": START_OF_UNIT_S * self._patience}
        )
        event = self._wait("held", HOLD_S, failed="not held")
        return Held(int(event["unit"]), str(event["host"]), int(event["pid"]))

    def publish(self, single: SingleTask) -> int:
        """Publish one unit; returns its number."""
        seconds = {} if single.seconds is None else {"seconds": single.seconds}
        self._send({"publish": single.kind, **seconds})
        return int(self._wait("published", PUBLISH_S)["unit"])

    def stop(self) -> float:
        """Publish no more; returns the time. Counting goes on."""
        self._send({"stop": True})
        return self.now()

    def close(self) -> None:
        """End the process."""
        if self._process.stdin and not self._process.stdin.closed:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            self._process.wait(10)
        self._log.close()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            if not line.startswith("{"):
                continue
            event = json.loads(line)
            if event["event"] == "counted":
                names = ("attempted", "confirmed", "unknown", "executed")
                self._counts = Counts(**{name: int(event.get(name) or 0) for name in names})
            else:
                self._events.put(event)
        self._events.put({"event": "ended"})

    def _send(self, command: dict[str, Any]) -> None:
        try:
            assert self._process.stdin is not None  # noqa: S101 - it was made with a pipe
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise self._gone() from error

    def _wait(self, name: str, seconds: float, failed: str = "") -> dict[str, Any]:
        seconds *= self._patience
        deadline = time.monotonic() + seconds
        while True:
            try:
                event = self._events.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise LabError(f"The load has not {name} within {seconds:.0f} s; see {self._path}.") from None
            if event["event"] == "ended":
                raise self._gone()
            if event["event"] == failed:
                raise NotHeldError(
                    f"No unit got to work on {event['host']} in time; ./lab logs {event['host']} tells what"
                    " its worker does."
                )
            if event["event"] == name:
                return event

    def _gone(self) -> LabError:
        words = [line for line in self._path.read_text(encoding="utf-8").splitlines() if line.strip()]
        return LabError(
            f"The load ended by itself: {words[-1] if words else 'without a word'}; see {self._path}."
        )
