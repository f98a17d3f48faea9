"""Files of one lab, which only their owner may read."""

import contextlib
import os
import shutil
from pathlib import Path

from labctl.paths import ROOT, LabPaths


def make_private(folder: Path) -> None:
    """Create a folder that only its owner may enter."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600 in one step."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)


def shown(path: Path) -> str:
    """A path for a message: relative to the project when it is inside it."""
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def remove_state(paths: LabPaths) -> None:
    """Remove the lab's folder, and .lab when nothing else is in it."""
    shutil.rmtree(paths.state, ignore_errors=True)
    with contextlib.suppress(OSError):
        paths.base.rmdir()
