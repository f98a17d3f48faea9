"""Running other programs so that none of them outlives the command that started it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from labctl.paths import ROOT
from labctl.programs.child import GRACE_S

_running: set[subprocess.Popen[str]] = set()


def stream(
    command: Sequence[str],
    on_line: Callable[[str], None],
    *,
    environment: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
) -> int:
    """Run a program, hand over each line of its stdout and stderr, return its exit status.

    The program and what it started end with this process, also when that is killed, and with an interrupt.
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


def end_all() -> None:
    """Tell every program that `stream` runs, in any thread, to end."""
    for process in tuple(_running):
        process.terminate()  # child.py ends the rest
