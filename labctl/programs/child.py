"""Runs a program, and ends it with all that it started on SIGTERM and when its own parent dies:
child.py PARENT_PID COMMAND [ARGUMENT...]; exits as the program does, or with 128 + the signal that ended it.

Ansible's workers and connections do not end with the process that started them. Without this program they
would continue after ./lab was killed, at the same time as those of the next command.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

PR_SET_PDEATHSIG = 1
GRACE_S = 5.0  # between asking and killing; labctl/programs/process.py waits longer than this

# Process id and kernel start time, which distinguishes it from a later process with the same number.
_Process = tuple[int, str]


class _Terminated(BaseException):
    """SIGTERM: from the parent, or from the kernel because the parent died."""


def main() -> NoReturn:
    parent, command = int(sys.argv[1]), sys.argv[2:]
    signal.signal(signal.SIGTERM, _on_sigterm)
    _end_with_parent()
    if os.getppid() != parent:  # it died before the line above
        sys.exit(128 + signal.SIGTERM)
    try:
        status = subprocess.Popen(command, preexec_fn=_end_with_parent).wait()  # noqa: PLW1509 - no threads
    except OSError as error:
        sys.exit(f"{command[0]} cannot be run: {error.strerror}.")
    except _Terminated:
        _end_family()
        status = -signal.SIGTERM
    sys.exit(status if status >= 0 else 128 - status)


def _on_sigterm(_signal: int, _frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise _Terminated


def _end_with_parent() -> None:
    with contextlib.suppress(OSError, AttributeError):  # not on Linux
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _end_family() -> None:
    """Ask the program to end; after GRACE_S kill it and what it started."""
    family = _descendants(os.getpid())
    for process in family[:1]:
        _send(process, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S
    while time.monotonic() < deadline and any(map(_alive, family)):
        time.sleep(0.1)
    left = [process for process in family if _alive(process)]
    for process in left + [later for member in left for later in _descendants(member[0])]:
        _send(process, signal.SIGKILL)


def _send(process: _Process, number: int) -> None:
    if _alive(process):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process[0], number)


def _descendants(pid: int) -> list[_Process]:
    """Processes that this one started, and theirs; its own child first."""
    children: dict[int, list[_Process]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = _stat_fields(int(entry.name))
            children.setdefault(int(fields[1]), []).append((int(entry.name), fields[19]))
    found = children.get(pid, [])
    for process in found:
        found += children.get(process[0], [])
    return found


def _stat_fields(pid: int) -> list[str]:
    """Fields of /proc/PID/stat after the command name: state, parent, ... start time is the 20th of them."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return text.rpartition(")")[2].split()


def _alive(process: _Process) -> bool:
    try:
        fields = _stat_fields(process[0])
        return fields[19] == process[1] and fields[0] != "Z"
    except (OSError, IndexError):
        return False


if __name__ == "__main__":
    main()
