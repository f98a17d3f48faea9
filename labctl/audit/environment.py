"""A virtual environment with the requirements of an application, in .lab/cache."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from labctl.ansible.failures import registry_unreachable
from labctl.errors import UsageError
from labctl.paths import ROOT
from labctl.programs import process
from labctl.screen import Screen
from labctl.testing import pythons

NODE_MINORS = (13,)  # of Python 3: the nodes have Debian 13
_LIBRARY = re.compile(r"^\W*celery[-_.]durable\b", re.MULTILINE | re.IGNORECASE)


def interpreter(folder: Path, cache: Path, screen: Screen) -> Path:
    """Return the environment's Python. Builds the environment if the requirements changed. UsageError."""
    files = [folder / "pyproject.toml", *sorted(folder.glob("requirements*.txt"))]
    files += sorted(folder.glob("requirements/**/*.txt"))
    text = "\n".join(file.read_text(encoding="utf-8", errors="replace") for file in files if file.is_file())
    # Install celery_durable from this project, and separately: pip rejects a folder if others have hashes.
    library = [[str(ROOT / "celery_durable")]] if _LIBRARY.search(text) else []
    installs = [*library, requirements(folder)]
    base, minor = pythons.find(NODE_MINORS) or (Path(sys.executable), sys.version_info.minor)
    key = hashlib.sha256(f"3.{minor} {folder}\n{text}".encode()).hexdigest()[:16]
    venv = cache / f"audit-{key}"
    if not (venv / "complete").exists():
        shutil.rmtree(venv, ignore_errors=True)  # from an interrupted run
        _build(venv, base, minor, installs, folder, screen)
        (venv / "complete").touch()
    return venv / "bin" / "python"


def requirements(folder: Path) -> list[str]:
    """Return pip's arguments: requirements.txt, or the dependencies in pyproject.toml. Raises UsageError."""
    file, project = folder / "requirements.txt", folder / "pyproject.toml"
    if file.is_file():
        return ["-r", str(file)]
    if not project.is_file():
        raise UsageError(
            f"{folder} has no requirements.txt and no pyproject.toml: give the folder of the application, or"
            " --python with the interpreter of an environment that has its packages."
        )
    try:
        declared = tomllib.loads(project.read_text(encoding="utf-8")).get("project", {})
    except ValueError as error:
        raise UsageError(f"{project} is not valid TOML, {error}: correct it, then try again.") from None
    return list(declared.get("dependencies", [str(folder)]))  # else its build backend has them


def _build(
    venv: Path, base: Path, minor: int, installs: list[list[str]], folder: Path, screen: Screen
) -> None:
    pip = [sys.executable, "-m", "pip", "--python", str(venv / "bin" / "python"), "install"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    lines: list[str] = []
    with screen.step("install the application's requirements") as step:

        def on_line(line: str) -> None:
            lines.append(line)
            step.update(line)

        venv.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([str(base), "-m", "venv", "--without-pip", str(venv)], check=True, env=environment)
        for words in filter(None, installs):
            if process.stream([*pip, *words], on_line, environment=environment, cwd=folder) != 0:
                raise UsageError(_why(folder, lines, minor))


def _why(folder: Path, lines: list[str], minor: int) -> str:
    errors = "\n".join(line for line in lines if line.startswith("ERROR")) or "\n".join(lines[-6:])
    unreachable = registry_unreachable("\n".join(lines))
    cause = "the package index did not answer, or does not have a package" if unreachable else "pip failed"
    return (
        f"The requirements of {folder} cannot be installed with Python 3.{minor}, {cause}: correct the error,"
        f" for example with a version of the package for Python 3.{minor}, or give --python with the"
        f" interpreter of an environment that has them.\n{errors}"
    )
