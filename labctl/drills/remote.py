"""Commands on a node whose output is wanted."""

from __future__ import annotations

import subprocess

from labctl.context import Context
from labctl.errors import LabError

SECONDS = 90


def output(context: Context, node: str, command: list[str], *, must_pass: bool = True) -> str:
    """Stdout of a command on a node; raises LabError when it fails, unless that does not matter."""
    words = context.substrate.shell(node, command)
    try:
        done = subprocess.run(
            words, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(
            f"{node} does not end {command[-1]!r} within {SECONDS} s; ./lab status tells how it is."
        ) from error
    if must_pass and done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise LabError(f"{' '.join(command)} failed on {node}: {last[-1]}")
    return done.stdout
