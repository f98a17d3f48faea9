"""The other end of the controller's range: Python 3.11 with ansible-core 2.19, or a newer Python with 2.21.

requirements.txt takes another Ansible from Python 3.12 on. `./lab` runs on one side of that; the tests that
need no lab run on the other side too, where this machine has such a Python.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from labctl.errors import LabError
from labctl.paths import ROOT
from labctl.programs import process
from labctl.screen import Screen

OLD, NEW = (11,), (14, 13, 12)  # minor versions of Python 3, best first
_BOOTSTRAP = ROOT / "labctl" / "bootstrap.py"
_WORKS = "import ensurepip, sys, venv; print(sys.version_info[1])"
_CORE = "from importlib.metadata import version; print(version('ansible-core'))"


@dataclass(frozen=True)
class Python:
    """An environment with requirements.txt installed: its interpreter, and which versions these are."""

    program: Path
    minor: int
    core: str

    def __str__(self) -> str:
        return f"Python 3.{self.minor}, ansible-core {self.core}"


def own() -> Python:
    """The one that runs this."""
    return Python(Path(sys.executable), sys.version_info.minor, version("ansible-core"))


def other(cache: Path, screen: Screen) -> Python | None:
    """The one of the other side of the range, made in `cache` when it is missing; None without such a Python.

    Raises LabError when it cannot be made.
    """
    found = find(NEW if sys.version_info.minor in OLD else OLD)
    if found is None:
        return None
    interpreter, minor = found
    venv = cache / f"venv-3.{minor}"
    command = [str(interpreter), "-P", str(_BOOTSTRAP), f"--into={venv}"]
    if subprocess.run([*command, "--check"], check=False, capture_output=True).returncode != 0:
        _make(command, venv, screen)
    program = venv / "bin" / "python"
    asked = subprocess.run([str(program), "-c", _CORE], check=True, capture_output=True, text=True)
    return Python(program, minor, asked.stdout.strip())


def find(minors: tuple[int, ...]) -> tuple[Path, int] | None:
    """The first of these minor versions that works here, with its interpreter.

    Only a trial run shows this: a version manager's shim may exist and fail, and Debian splits venv and
    ensurepip off.
    """
    for minor in minors:
        for program in _candidates(minor):
            if _is(program, minor):
                return program, minor
    return None


def _candidates(minor: int) -> Iterator[Path]:
    for name in (f"python3.{minor}", f"/usr/bin/python3.{minor}"):
        path = shutil.which(name)
        if path:
            yield Path(path)
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(root.glob(f"versions/3.{minor}.*/bin/python"))


def _is(program: Path, minor: int) -> bool:
    try:
        done = subprocess.run(
            [str(program), "-c", _WORKS], check=False, capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and done.stdout.strip() == str(minor)


def _make(command: list[str], venv: Path, screen: Screen) -> None:
    with screen.step(f"make {venv.name}") as step:
        done = process.follow(command, step)
        step.ok = done.ok
        step.result = "from requirements.txt" if step.ok else "FAILED"
    if not step.ok:
        raise LabError(f"The environment of the other Python could not be made:\n{done.ending()}")
