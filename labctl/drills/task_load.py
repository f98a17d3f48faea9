"""A load of single tasks: `mosaic drill load` runs on a gateway, and ends when its stdin is closed."""

import contextlib
import json
import queue
import subprocess
import threading
import time
from pathlib import Path
from typing import IO, Any, cast

from labctl.drills.definition import SingleTask
from labctl.drills.ledger import Ledger, parse_ledger
from labctl.drills.load import Counts, Load, NotHeldError
from labctl.drills.targets import Held
from labctl.errors import LabError
from labctl.programs.remote import output
from labctl.substrates.base import Substrate

UNIT = "lab-drill-load"
RATE = 40.0  # tasks a second; divided by the hosts' patience
TASK_S = 0.03
# By profile: the queue, and the systemd unit of the workers.
_QUEUES = {"lab": "mosaic.drill", "stock": "celery"}
_WORKERS = {"lab": "mosaic-worker@render.service", "stock": "lab-drill-stock.service"}
START_S = 30.0
HOLD_S = 45.0
START_OF_UNIT_S = 3.0
HELD_S = 60.0  # at most, of the unit that a fault is to interrupt: longer than a playbook takes to act
PUBLISH_S = 60.0
PROGRAM = "/opt/mosaic/venv/bin/mosaic"


def mosaic(*arguments: str, unit: str = "") -> list[str]:
    """Command line that runs `mosaic` as its own user with the host's configuration, and plain Celery's."""
    words = ["systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--uid=mosaic", "--gid=mosaic"]
    words += [f"--unit={unit}"] if unit else []
    words += ["--working-directory=/var/lib/mosaic", "--property=EnvironmentFile=-/etc/mosaic/stock.env"]
    return [*words, PROGRAM, *arguments]


class TaskLoad(Load):
    """A running load of tasks of a profile: "lab", or "stock" for plain Celery."""

    def __init__(
        self, substrate: Substrate, host: str, *, run: str, profile: str, limit: float, log: Path
    ) -> None:
        """Start it on `host`; raises LabError when it does not start in time. `log`: its stderr."""
        self.queue = _QUEUES[profile]
        self.worker_unit = _WORKERS[profile]
        self._substrate = substrate
        self._host = host
        self._run = run
        self._patience = substrate.patience()
        self._rate = RATE / self._patience
        self._counts = Counts()
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        # One of a drill that was killed.
        output(substrate, host, ["systemctl", "stop", f"{UNIT}.service"], must_pass=False)
        self._log = log.open("w", encoding="utf-8")
        self._path = log
        arguments = ["drill", "load", run, f"--profile={profile}", f"--rate={self._rate}"]
        arguments += [f"--seconds={TASK_S}", f"--limit={limit}"]
        words = substrate.shell(host, mosaic(*arguments, unit=UNIT))
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,  # Ctrl-C is for ./lab, which ends the load when it has healed the lab
        )
        self._stdin = cast("IO[str]", self._process.stdin)
        threading.Thread(target=self._read, name="load", daemon=True).start()
        started = self._wait("started", START_S)
        self._offset = float(started["at"]) - time.time()

    @property
    def counts(self) -> Counts:
        return self._counts

    def progress(self) -> str:
        counts = self._counts
        words = f"{self._rate:g}/s, {counts.confirmed} confirmed, {counts.executed} executed"
        return words + (f", {counts.unknown} unknown" if counts.unknown else "")

    def now(self) -> float:
        return time.time() + self._offset

    def hold(self, host: str) -> Held:
        patience = self._patience
        self._send({"hold": host, "seconds": HELD_S * patience, "wait": START_OF_UNIT_S * patience})
        event = self._wait("held", HOLD_S, failed="not held")
        return Held(int(event["unit"]), str(event["host"]), int(event["pid"]))

    def publish(self, single: SingleTask) -> int:
        seconds = {} if single.seconds is None else {"seconds": single.seconds}
        self._send({"publish": single.kind, **seconds})
        return int(self._wait("published", PUBLISH_S)["unit"])

    def stop(self) -> float:
        self._send({"stop": True})
        return self.now()

    def read_back(self, file: Path) -> Ledger:
        """What was published and done; takes the run's dead letters out of their queue."""
        dead, document = (
            json.loads(output(self._substrate, self._host, mosaic("drill", what, self._run)))
            for what in ("dead", "ledger")
        )
        file.write_text(json.dumps({**document, "dead": dead}), encoding="utf-8")
        return parse_ledger(document, dead)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._stdin.close()
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
            self._stdin.write(json.dumps(command) + "\n")
            self._stdin.flush()
        except OSError as error:
            raise self._gone() from error

    def _wait(self, name: str, seconds: float, failed: str = "") -> dict[str, Any]:
        seconds *= self._patience
        deadline = time.monotonic() + seconds
        while True:
            try:
                event = self._events.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise LabError(
                    f"The load has not reached {name!r} within {seconds:.0f} s; see {self._path}."
                ) from None
            if event["event"] == "ended":
                raise self._gone()
            if event["event"] == failed:
                raise NotHeldError(
                    f"No unit started on {event['host']} in time; ./lab logs {event['host']} shows what its"
                    " worker does."
                )
            if event["event"] == name:
                return event

    def _gone(self) -> LabError:
        lines = self._path.read_text(encoding="utf-8").strip().splitlines() or ["it printed nothing"]
        return LabError(f"The load ended by itself: {lines[-1]}; see {self._path}.")
