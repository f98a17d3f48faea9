"""Python programs that run in a process of their own, with this library."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import celery_durable

SOURCE = Path(celery_durable.__file__).parents[1]


def start(code: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start it; its stdout is a pipe."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE), **environment},
    )


def output(code: str, *arguments: str, **environment: str) -> str:
    """Run it to its end, which must be a good one; return what it printed."""
    with start(code, *arguments, **environment) as process:
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return out
