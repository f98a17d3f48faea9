"""Finding a Python of the other side of the controller's range."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from labctl.testing import pythons


def script(file: Path, text: str) -> None:
    """An executable shell script."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    file.chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH and a pyenv of their own, both empty."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    return tmp_path


def test_this_python_is_described() -> None:
    own = pythons.own()
    assert own.minor == sys.version_info.minor
    assert str(own).startswith(f"Python 3.{own.minor}, ansible-core 2.")


def test_a_shim_without_a_version_behind_it_is_passed_over(machine: Path) -> None:
    script(machine / "bin" / "python3.77", "exit 127")
    good = machine / "pyenv" / "versions" / "3.77.1" / "bin" / "python"
    script(good, "echo 77")
    assert pythons.find((78, 77)) == (good, 77)


def test_a_python_of_another_version_under_that_name_is_passed_over(machine: Path) -> None:
    script(machine / "bin" / "python3.77", "echo 12")
    assert pythons.find((77,)) is None
