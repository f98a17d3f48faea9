"""The lab as its user sees it: the command ./lab, and the files that ./lab keeps."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LAB = ROOT / "lab"
DEFAULT_LAB = "warren"


@dataclass(frozen=True)
class Done:
    """Result of a command."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        """Its stdout, decoded; it must be one JSON document."""
        return json.loads(self.out)

    def __str__(self) -> str:
        """For the message of a failed check."""
        return f"exit status {self.status}\n{self.out[-3000:]}\n{self.err[-3000:]}"


@dataclass(frozen=True)
class UserLab:
    """A lab that is up, by its name."""

    name: str

    @property
    def state(self) -> Path:
        """Folder in which ./lab keeps the state of this lab."""
        return Path(os.environ.get("LAB_STATE_DIR") or ROOT / ".lab" / self.name)

    @property
    def password(self) -> str:
        """The console's password."""
        return (self.state / "secrets" / "console_password").read_text(encoding="utf-8").removesuffix("\n")

    @property
    def environment(self) -> dict[str, str]:
        """Environment for ./lab, as in a user's shell."""
        inner = ("ANSIBLE_", "LAB_", "PYTEST_", "PYTHONPATH")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(inner)}
        return {**kept, "LAB_NAME": self.name}

    def run(self, *arguments: str, seconds: float = 900, stdin: str = "") -> Done:
        """Run ./lab with these arguments."""
        done = subprocess.run(
            [LAB, *arguments],
            check=False,
            capture_output=True,
            text=True,
            input=stdin,
            timeout=seconds,
            env=self.environment,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start ./lab in a process group of its own, as a shell does, without waiting for it."""
        return subprocess.Popen(
            [LAB, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment,
            start_new_session=True,
        )

    def up(self) -> Done:
        """`./lab up` without the checks and the demo."""
        return self.run("up", "--no-verify", "--no-demo")

    def status(self) -> dict[str, Any]:
        """Document of `./lab status --json`, also of an unhealthy lab."""
        found: dict[str, Any] = self.run("status", "--json").json()
        return found

    def wait_until_healthy(self, seconds: float) -> None:
        """Wait until `./lab status` reports a healthy lab."""
        # Each call costs CPU on every node, which recovers later for it.
        wait_for("a healthy lab", seconds, lambda: self.run("status").status == 0, poll=3)

    def python(self, node: str, source: str, *arguments: str) -> Any:
        """Run a program with the application's Python on a node; returns its stdout's JSON."""
        done = self.run("shell", node, "/opt/mosaic/venv/bin/python", "-c", source, *arguments)
        assert done.status == 0, str(done)
        return done.json()


def docker(*arguments: str) -> str:
    """Run docker, to break something from outside; returns its stdout."""
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout


def wait_for(what: str, seconds: float, check: Callable[[], object], poll: float = 0.25) -> None:
    """Wait until check() is true."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(poll)


def processes_of(names: Sequence[str], environment: str) -> list[int]:
    """Processes with one of these words in their arguments and this NAME=value in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (folder / "cmdline").read_bytes().decode(errors="replace")
            variables = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if environment in variables and any(name in arguments for name in names):
            found.append(int(folder.name))
    return found
