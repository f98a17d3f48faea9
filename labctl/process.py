"""Running other programs so that none of them outlives the command that started it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from labctl.paths import ROOT

TERM_GRACE_S = 5.0


@dataclass(frozen=True)
class _Process:
    pid: int
    started: str  # kernel start time: tells a process from a later one with the same number


def stream(
    command: Sequence[str],
    on_line: Callable[[str], None],
    *,
    environment: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
) -> int:
    """Run a program, hand over each line of its stdout and stderr, return its exit status.

    The program dies with this process, also when that is killed; an interrupt ends it and what it started.
    """
    guarded = [sys.executable, "-I", str(Path(__file__).with_name("child.py")), str(os.getpid()), *command]
    with subprocess.Popen(
        guarded,
        cwd=cwd,
        env=None if environment is None else dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            for line in process.stdout or ():
                on_line(line.rstrip("\n"))
            return process.wait()
        except BaseException:
            terminate(process)
            raise


def terminate(process: subprocess.Popen[str]) -> None:
    """End a program and everything it started: asked first, killed after TERM_GRACE_S."""
    family = _descendants(process.pid)
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    deadline = time.monotonic() + TERM_GRACE_S
    while time.monotonic() < deadline and (process.poll() is None or any(map(_alive, family))):
        time.sleep(0.1)
    for member in family:
        if _alive(member):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(member.pid, signal.SIGKILL)
    if process.poll() is None:
        process.kill()


def _descendants(pid: int) -> list[_Process]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            children.setdefault(int(_stat_fields(stat)[1]), []).append(int(stat.parent.name))
    found: list[_Process] = []
    waiting = list(children.get(pid, []))
    while waiting:
        child = waiting.pop()
        waiting += children.get(child, [])
        with contextlib.suppress(OSError, IndexError):
            found.append(_Process(child, _stat_fields(Path(f"/proc/{child}/stat"))[19]))
    return found


def _stat_fields(path: Path) -> list[str]:
    """Fields of /proc/PID/stat after the command name: state, parent, ... start time is the 20th of them."""
    return path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


def _alive(process: _Process) -> bool:
    try:
        fields = _stat_fields(Path(f"/proc/{process.pid}/stat"))
        return fields[19] == process.started and fields[0] != "Z"
    except (OSError, IndexError):
        return False
