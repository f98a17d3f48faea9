"""A program of ./lab that runs on a node: it ends when its standard input is closed."""

import base64
import contextlib
import io
import json
import queue
import secrets
import subprocess
import tarfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, cast

from labctl.programs.remote import output
from labctl.substrates.base import Substrate

PYTHON = "/opt/mosaic/venv/bin/python"  # has pika and Celery
FOLDER = "/run/lab-programs"
LIMIT_S = 180  # after which systemd ends a process that ./lab could not end
END_S = 10.0
# Celery warns of a user that is in no list of users, as this one.
ENVIRONMENT = ("PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1", "PYTHONWARNINGS=ignore", "HOME=/tmp")

#: A process, and a line that it printed; None when it has ended.
Event = tuple["Process", str | None]


def copy(substrate: Substrate, host: str, files: Sequence[Path]) -> None:
    """Copy programs to FOLDER of a host. Raises LabError."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for file in files:
            content = file.read_bytes()
            member = tarfile.TarInfo(file.name)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    script = f"mkdir -p {FOLDER} && base64 -d | tar -xzf - -C {FOLDER}"
    output(substrate, host, ["sh", "-c", script], stdin=base64.b64encode(buffer.getvalue()).decode())


class Process:
    """A process that runs as a user of its own, which systemd creates for this time."""

    def __init__(
        self,
        substrate: Substrate,
        host: str,
        program: str,
        settings: dict[str, Any],
        events: "queue.Queue[Event]",
        *,
        python: str = PYTHON,
        limit: int = LIMIT_S,
    ) -> None:
        """Start it. `settings`: the first line of its standard input, `part` is in the name of its unit.

        `limit`: seconds.
        """
        self.host = host
        self._substrate = substrate
        self._unit = f"lab-program-{settings['part']}-{secrets.token_hex(4)}"
        words = ["systemd-run", "--quiet", "--pipe", "--wait", "--collect", f"--unit={self._unit}"]
        words += ["--property=DynamicUser=yes", "--property=PrivateTmp=yes", "--working-directory=/tmp"]
        words += [f"--property=RuntimeMaxSec={limit}", "--property=TimeoutStopSec=2"]
        words += [f"--setenv={variable}" for variable in ENVIRONMENT]
        self._process = subprocess.Popen(
            substrate.shell(host, [*words, python, f"{FOLDER}/{program}"]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C is for ./lab, which then ends it
        )
        self._stdin = cast("IO[str]", self._process.stdin)
        self.send(settings)
        threading.Thread(target=self._read, args=(events,), daemon=True).start()

    def _read(self, events: "queue.Queue[Event]") -> None:
        for line in self._process.stdout or ():
            events.put((self, line.rstrip("\n")))
        events.put((self, None))

    def send(self, document: object) -> None:
        """Write a line of JSON to its standard input."""
        with contextlib.suppress(OSError):  # it has ended; `_read` reports this
            self._stdin.write(json.dumps(document) + "\n")
            self._stdin.flush()

    def ask_to_end(self) -> None:
        """Close its standard input."""
        with contextlib.suppress(OSError):
            self._stdin.close()

    def end(self) -> int:
        """End it; returns its exit status."""
        self.ask_to_end()
        try:
            return self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            unit = f"{self._unit}.service"
            output(self._substrate, self.host, ["systemctl", "kill", "--signal=KILL", unit], must_pass=False)
            self._process.terminate()
            return self._process.wait(END_S)
