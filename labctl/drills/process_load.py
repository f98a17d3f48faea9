"""A load that is a process on a gateway: commands on its stdin, events on its stdout, as JSON lines."""

import contextlib
import json
import queue
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, cast

from labctl.drills.load import Counts, Load, NotHeldError
from labctl.errors import LabError
from labctl.programs.remote import output
from labctl.substrates.base import Substrate

UNIT = "lab-drill-load"
START_S = 30.0


def as_user(user: str, environment: Sequence[str], command: Sequence[str], unit: str = "") -> list[str]:
    """Command line that runs a command as an application's user; `environment`: files of variables."""
    words = ["systemd-run", "--quiet", "--pipe", "--wait", "--collect", f"--uid={user}", f"--gid={user}"]
    words += [f"--unit={unit}"] if unit else []
    words += [f"--property=EnvironmentFile={file}" for file in environment]
    return [*words, f"--working-directory=/var/lib/{user}", *command]


class ProcessLoad(Load):
    """A running process. It ends when its stdin is closed, so never after ./lab."""

    def __init__(
        self, substrate: Substrate, host: str, command: list[str], *, rate: float, log: Path, first: str = ""
    ) -> None:
        """Start it on `host`; raises LabError when it does not start in time.

        rate: tasks a second, for the screen. log: its stderr. first: the first line of its stdin.
        """
        self._substrate = substrate
        self._host = host
        self._patience = substrate.patience()
        self._rate = rate
        self._counts = Counts()
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        # One of a drill that was killed.
        output(substrate, host, ["systemctl", "stop", f"{UNIT}.service"], must_pass=False)
        self._log = log.open("w", encoding="utf-8")
        self._path = log
        self._process = subprocess.Popen(
            substrate.shell(host, command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,  # Ctrl-C is for ./lab, which ends the load when it has healed the lab
        )
        self._stdin = cast("IO[str]", self._process.stdin)
        threading.Thread(target=self._read, name="load", daemon=True).start()
        if first:
            self._write(first)
        started = self._wait("started", START_S)
        self._offset = float(started["at"]) - time.time()

    @property
    def counts(self) -> Counts:
        return self._counts

    def progress(self) -> str:
        counts = self.counts
        words = f"{self._rate:g}/s, {counts.confirmed} confirmed, {counts.executed} executed"
        return words + (f", {counts.unknown} unknown" if counts.unknown else "")

    def now(self) -> float:
        return time.time() + self._offset

    def stop(self) -> float:
        self._send({"stop": True})
        return self.now()

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
            try:
                event = json.loads(line) if line.startswith('{"event"') else {}
            except ValueError:
                event = {}
            if not event:  # an application may print too
                continue
            if event["event"] == "counted":
                names = ("attempted", "confirmed", "unknown", "executed")
                self._counts = Counts(**{name: int(event.get(name) or 0) for name in names})
            else:
                self._events.put(event)
        self._events.put({"event": "ended"})

    def _send(self, command: dict[str, Any]) -> None:
        self._write(json.dumps(command))

    def _write(self, line: str) -> None:
        try:
            self._stdin.write(f"{line}\n")
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
