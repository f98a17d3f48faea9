"""Commands on a node whose output is wanted."""

import subprocess

from labctl.errors import LabError
from labctl.substrates.base import Substrate

SECONDS = 90.0


def output(
    substrate: Substrate,
    node: str,
    command: list[str],
    *,
    stdin: str = "",
    seconds: float = SECONDS,
    must_pass: bool = True,
) -> str:
    """Stdout of a command on a node; raises LabError on a timeout and, with `must_pass`, when it fails."""
    words = substrate.shell(node, command)
    try:
        done = subprocess.run(
            words, check=False, capture_output=True, text=True, input=stdin, timeout=seconds
        )
    except subprocess.TimeoutExpired as error:
        raise LabError(
            f"{command[0]!r} on {node} did not end within {seconds:.0f} s; ./lab status shows its state."
        ) from error
    if must_pass and done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines() or ["it printed nothing"]
        raise LabError(f"{' '.join(command)} failed on {node}: {last[-1]}")
    return done.stdout
