"""Running other programs so that none of them outlives the command that started it."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from labctl.paths import ROOT
from labctl.programs.child import GRACE_S
from labctl.screen import Step

_running: set[subprocess.Popen[str]] = set()


def stream(
    command: Sequence[str],
    on_line: Callable[[str], None],
    *,
    environment: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
) -> int:
    """Run a program, pass each line of its stdout and stderr to `on_line`, return its exit status.

    The program and what it started end when this process ends, is killed or is interrupted.
    """
    guarded = [sys.executable, "-I", str(Path(__file__).with_name("child.py")), str(os.getpid()), *command]
    with subprocess.Popen(
        guarded,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        _running.add(process)
        try:
            for line in process.stdout or ():
                on_line(line.rstrip("\n"))
            return process.wait()
        except BaseException:
            process.terminate()  # child.py ends the rest
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(2 * GRACE_S)
            process.kill()
            raise
        finally:
            _running.discard(process)


@dataclass(frozen=True)
class Done:
    """A program that ended: its exit status, and the lines of its stdout and stderr."""

    status: int
    lines: list[str]

    @property
    def ok(self) -> bool:
        return self.status == 0

    def ending(self, count: int = 8) -> str:
        """Its last lines, for an error message."""
        return "\n".join(self.lines[-count:]) or "no message"


def follow(
    command: Sequence[str],
    step: Step,
    *,
    subject: Callable[[str], str] = str,
    environment: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
) -> Done:
    """Run a program as `stream` does, and show its latest line in the step.

    `subject`: the part of a line to show; when it is "", the step stays as it is.
    """
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        shown = subject(line)
        if shown:
            step.update(shown)

    return Done(stream(command, on_line, environment=environment, cwd=cwd), lines)


def end_all() -> None:
    """End every program that `stream` runs, in any thread."""
    for process in tuple(_running):
        process.terminate()  # child.py ends the rest
