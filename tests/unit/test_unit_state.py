"""lab-unit-state: which units do not run, would not run after a boot, or run with files of before."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "roles" / "base" / "files" / "lab-unit-state"

Ask = Callable[..., dict[str, str]]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Ask about units, with a systemctl that returns their state."""
    programs = tmp_path / "bin"
    programs.mkdir()
    answers = tmp_path / "answers"
    answers.mkdir()
    systemctl = programs / "systemctl"
    # As the real one: a block for each unit that is asked for, in that order, with an empty line between.
    systemctl.write_text(
        "#!/bin/sh\n"
        "if [ $1 = list-units ]; then for unit; do :; done"  # the last argument is the pattern
        f'; cd {answers}; for found in $unit; do echo "$found loaded active running"; done; exit; fi\n'
        f'shift 2\nfirst=1\nfor unit; do [ $first ] || echo; first=; cat "{answers}/$unit"; done\n'
    )
    systemctl.chmod(0o755)

    def say(unit: str, ago: float = 100, state: str = "active", enabled: str = "enabled") -> None:
        entered = int((time.clock_gettime(time.CLOCK_MONOTONIC) - ago) * 1e6)
        lines = [f"Id={unit}", f"ActiveState={state}", f"UnitFileState={enabled}"]
        (answers / unit).write_text("\n".join([*lines, f"StateChangeTimestampMonotonic={entered}", ""]))

    def run(
        units: dict[str, list[Path]], patterns: tuple[str, ...] = (), **known: str | float
    ) -> dict[str, str]:
        for unit in units:
            if not (answers / unit).exists() or known:
                say(unit, **known)  # type: ignore[arg-type]
        question = json.dumps(
            [{"unit": unit, "files": [str(path) for path in paths]} for unit, paths in units.items()]
        )
        done = subprocess.run(
            [sys.executable, SCRIPT, question, *patterns],
            check=True,
            capture_output=True,
            text=True,
            env={
                **os.environ,
                "PATH": f"{programs}:{os.environ['PATH']}",
                "LAB_ROOT": str(tmp_path),
            },
        )
        found: dict[str, str] = json.loads(done.stdout)
        assert (done.stdout.strip() == "{}") is (not found), "the roles compare the text"
        return found

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
    assert ask({"a.service": [folder / "inner" / "file"]}, ago=100) == {}


def test_started_before_the_change(ask: Ask, folder: Path) -> None:
    age(folder / "inner" / "file", 50)
    assert ask({"a.service": [folder / "inner" / "file"]}, ago=100) == {"a.service": "stale"}


def test_a_file_deep_in_a_folder_counts(ask: Ask, folder: Path) -> None:
    age(folder / "inner" / "file", 50)
    assert ask({"a.service": [folder]}, ago=100) == {"a.service": "stale"}


def test_a_file_that_was_removed_counts_by_its_folder(ask: Ask, folder: Path) -> None:
    (folder / "inner" / "file").unlink()
    assert ask({"a.service": [folder / "inner"]}, ago=100) == {"a.service": "stale"}


def test_the_newest_of_several_paths_counts(ask: Ask, folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("x")
    assert ask({"a.service": [folder, other]}, ago=100) == {"a.service": "stale"}
    assert ask({"a.service": [other, folder]}, ago=100) == {"a.service": "stale"}


def test_a_path_that_is_missing_is_not_newer(ask: Ask, folder: Path) -> None:
    assert ask({"a.service": [folder / "absent", folder]}, ago=100) == {}


def test_after_the_clock_was_set_back_a_unit_restarts_once(ask: Ask, folder: Path) -> None:
    age(folder / "inner" / "file", -3600)
    assert ask({"a.service": [folder]}, ago=100) == {"a.service": "stale"}
    assert ask({"a.service": [folder]}, ago=-1) == {}


def test_a_link_counts_itself_and_not_its_target(ask: Ask, folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("x")
    link = folder / "inner" / "link"
    link.symlink_to(target)
    age(link, 3600)
    age(folder / "inner", 3600)
    assert ask({"a.service": [folder]}, ago=100) == {}


@pytest.mark.parametrize("state", ["inactive", "failed", "activating", "deactivating"])
def test_a_unit_that_does_not_run(ask: Ask, folder: Path, state: str) -> None:
    assert ask({"a.service": [folder]}, state=state) == {"a.service": "stopped"}


def test_a_unit_that_does_not_exist(ask: Ask, folder: Path) -> None:
    assert ask({"a.service": [folder]}, state="inactive", enabled="") == {"a.service": "stopped"}


def test_a_unit_that_is_reloading_runs(ask: Ask, folder: Path) -> None:
    assert ask({"a.service": [folder]}, state="reloading") == {}


@pytest.mark.parametrize("enabled", ["disabled", "masked", "linked"])
def test_a_unit_that_would_not_run_after_a_boot(ask: Ask, folder: Path, enabled: str) -> None:
    assert ask({"a.service": [folder]}, enabled=enabled) == {"a.service": "disabled"}


@pytest.mark.parametrize("enabled", ["enabled", "static", "enabled-runtime"])
def test_a_unit_that_runs_after_a_boot(ask: Ask, folder: Path, enabled: str) -> None:
    assert ask({"a.service": [folder]}, enabled=enabled) == {}


def test_several_units_are_distinguished(ask: Ask, folder: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.write_text("x")
    ask({"old@1.service": [new]}, state="inactive")
    found = ask({"a.service": [folder], "old@1.service": [folder], "b.service": [folder, new]})
    assert found == {"old@1.service": "stopped", "b.service": "stale"}


def test_no_unit(ask: Ask) -> None:
    assert ask({}) == {}


def test_units_that_are_named_alike_and_not_asked_for_are_surplus(
    ask: Ask, folder: Path, tmp_path: Path
) -> None:
    """Only those of an application of the lab: the host may run other programs with such names."""
    settings = tmp_path / "etc/systemd/system/a-.service.d/lab.conf"
    settings.parent.mkdir(parents=True)
    settings.touch()
    units = ("a-w@old.service", "a-w@new.service", "a-x.service", "b-w@old.service", "a-b-w@old.service")
    ask({unit: [] for unit in units})
    found = ask({"a-w@new.service": [folder]}, ("*-w@*.service",), state="inactive")
    assert found == {"a-w@new.service": "stopped", "a-w@old.service": "surplus"}
