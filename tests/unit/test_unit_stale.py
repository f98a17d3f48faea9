"""lab-unit-stale: whether a running unit has read the files that are there now."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "roles" / "base" / "files" / "lab-unit-stale"

Ask = Callable[..., str]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Ask about a unit that entered its state `ago` seconds ago, with a systemctl that says so."""
    programs = tmp_path / "bin"
    programs.mkdir()

    def run(*paths: Path, ago: float = 100, state: str = "active") -> str:
        entered = int((time.clock_gettime(time.CLOCK_MONOTONIC) - ago) * 1e6)
        systemctl = programs / "systemctl"
        answer = f"ActiveState={state}\nStateChangeTimestampMonotonic={entered}"
        systemctl.write_text(f"#!/bin/sh\nprintf '{answer}\\n'\n")
        systemctl.chmod(0o755)
        done = subprocess.run(
            [sys.executable, SCRIPT, "some.service", *paths],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
        )
        return done.stdout.strip()

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file in a folder, an hour old."""
    inner = tmp_path / "etc" / "inner"
    inner.mkdir(parents=True)
    (inner / "file").write_text("x")
    for path in (inner / "file", inner, inner.parent):
        age(path, 3600)
    return inner.parent


def age(path: Path, seconds: float) -> None:
    """Let the path have changed so long ago."""
    changed = time.time() - seconds
    os.utime(path, (changed, changed), follow_symlinks=False)


def test_started_after_the_change(ask: Ask, folder: Path) -> None:
    assert ask(folder / "inner" / "file", ago=100) == "current"


def test_started_before_the_change(ask: Ask, folder: Path) -> None:
    age(folder / "inner" / "file", 50)
    assert ask(folder / "inner" / "file", ago=100) == "stale"


def test_a_file_deep_in_a_folder_counts(ask: Ask, folder: Path) -> None:
    age(folder / "inner" / "file", 50)
    assert ask(folder, ago=100) == "stale"


def test_a_file_that_was_removed_counts_by_its_folder(ask: Ask, folder: Path) -> None:
    (folder / "inner" / "file").unlink()
    assert ask(folder / "inner", ago=100) == "stale"


def test_the_newest_of_several_paths_counts(ask: Ask, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("x")
    assert ask(folder, other, ago=100) == "stale"
    assert ask(other, folder, ago=100) == "stale"


def test_a_path_that_is_missing_is_not_newer(ask: Ask, folder: Path) -> None:
    assert ask(folder / "absent", folder, ago=100) == "current"


def test_a_link_counts_itself_and_not_its_target(ask: Ask, folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("x")
    link = folder / "inner" / "link"
    link.symlink_to(target)
    age(link, 3600)
    age(folder / "inner", 3600)
    assert ask(folder, ago=100) == "current"


@pytest.mark.parametrize("state", ["inactive", "failed", "activating", "deactivating"])
def test_a_unit_that_does_not_run(ask: Ask, folder: Path, state: str) -> None:
    assert ask(folder, state=state) == "stopped"


def test_a_unit_that_is_reloading_runs(ask: Ask, folder: Path) -> None:
    assert ask(folder, state="reloading", ago=100) == "current"
