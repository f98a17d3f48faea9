"""Runs a program and ends it, with all that it started, on SIGTERM and when its own parent dies:
child.py PARENT_PID COMMAND [ARGUMENT...]; exits as the program does, or with 128 + the signal that ended it.

Without it an Ansible run would go on after its ./lab was killed, beside the one that the user starts next:
Ansible's workers and connections do not end with the process that made them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

PR_SET_PDEATHSIG = 1
GRACE_S = 5.0  # between asking and killing; labctl/programs/process.py waits longer than this


@dataclass(frozen=True)
class _Process:
    pid: int
    started: str  # kernel start time: tells a process from a later one with the same number


class _ToldToEnd(BaseException):
    """SIGTERM: from the parent, or from the kernel because the parent died."""


def main() -> NoReturn:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    signal.signal(signal.SIGTERM, _told)
    _end_with_parent()
    if os.getppid() != parent:  # it died before the line above
        sys.exit(128 + signal.SIGTERM)
    try:
        status = subprocess.Popen(command, preexec_fn=_end_with_parent).wait()  # noqa: PLW1509 - no threads
    except OSError as error:
        sys.exit(f"{command[0]} cannot be run: {error.strerror}.")
    except _ToldToEnd:
        _end_family()
        status = -signal.SIGTERM
    sys.exit(status if status >= 0 else 128 - status)


def _told(_signal: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _ToldToEnd


def _end_with_parent() -> None:
    with contextlib.suppress(OSError, AttributeError):  # not on Linux
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _end_family() -> None:
    """Ask the program to end; kill whatever of it and of what it started is left after GRACE_S."""
    family = _descendants(os.getpid())
    for child in family[:1]:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(child.pid, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S
    while time.monotonic() < deadline and any(map(_alive, family)):
        time.sleep(0.1)
    left = [member for member in family if _alive(member)]
    left += [later for member in left for later in _descendants(member.pid)]
    for member in left:
        if _alive(member):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(member.pid, signal.SIGKILL)


def _descendants(pid: int) -> list[_Process]:
    """Processes that this one started, and theirs; its own child first."""
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


if __name__ == "__main__":
    main()
