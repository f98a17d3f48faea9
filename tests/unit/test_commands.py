"""The command line: exit statuses, JSON alone on stdout, sums of reports, the launcher."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from labctl import bootstrap
from labctl.cli import cli
from labctl.commands import logs, run, verify
from labctl.context import Context
from labctl.errors import UsageError
from labctl.paths import ROOT, LabPaths
from labctl.screen import Screen, Step
from labctl.status import nodes
from labctl.substrates.containers import DockerSubstrate
from labctl.testing import checks, junit


def lab(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "labctl", *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd="/",
        env={**os.environ, "PYTHONPATH": str(ROOT), "LAB_NAME": "no-such-lab", **environment},
    )


NEEDS_A_LAB = (
    ["status"],
    ["status", "broker-1"],
    ["verify"],
    ["demo"],
    ["drill", "kill-worker"],
    ["open"],
    ["open", "--json"],
    ["shell", "broker-1"],
    ["logs", "rabbitmq"],
    ["logs", "-f", "worker"],
    ["run", "site"],
)


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (["frobnicate"], {}, "No such command 'frobnicate'"),
        (["demo", "--width", "wide"], {}, "Invalid value for '--width'"),
        (["demo", "--priority", "urgent"], {}, "'urgent' is not one of 'normal', 'high'"),
        *(
            (words, {}, "There is no lab no-such-lab; ./lab up creates it, and ./lab list shows the labs")
            for words in NEEDS_A_LAB
        ),
        (["status"], {"LAB_NAME": "Bad Name"}, "is no usable name"),
        (["status"], {"LAB_INVENTORY": "/no/such"}, "Inventory /no/such does not exist"),
    ],
)
def test_wrong_usage_is_a_sentence_and_status_2(
    arguments: list[str], environment: dict[str, str], words: str
) -> None:
    done = lab(*arguments, **environment)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (ROOT / ".lab" / "no-such-lab").exists()


def test_help_names_every_command() -> None:
    done = lab("--help")
    assert done.returncode == 0
    assert len(cli.commands) >= 12
    for command in cli.commands:
        assert f"\n  {command} " in done.stdout


def test_an_unknown_playbook_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"'nope'; there are operations/.*, preflight, site") as refused:
        run._find(ROOT / "playbooks", "nope")
    assert "substrate" not in str(refused.value)
    assert "drills" not in str(refused.value)
    assert run._find(ROOT / "playbooks", "substrate/create") == ROOT / "playbooks/substrate/create.yml"
    assert run._find(ROOT / "playbooks", "site") == ROOT / "playbooks" / "site.yml"
    with pytest.raises(UsageError):
        run._find(ROOT / "playbooks", "../ansible.cfg")


def test_a_journal_message_of_several_lines_stays_together() -> None:
    text = "2026-01-01T00:00:00.1+00:00 a x: one\n    two\n2026-01-01T00:00:00.2+00:00 a x: three\n"
    assert logs.entries(text) == [
        "2026-01-01T00:00:00.1+00:00 a x: one\n    two",
        "2026-01-01T00:00:00.2+00:00 a x: three",
    ]


def test_a_step_that_fails_is_marked(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    with pytest.raises(ValueError, match="no"), screen.step("one"):
        raise ValueError("no")
    with screen.step("two [x]") as step:
        step.result = "[3] hosts"
    shown = capsys.readouterr()
    assert "✗ one" in shown.err
    assert "✓ two [x]  [3] hosts" in shown.err
    assert shown.out == ""


TESTS = """
import pytest
def test_good(): pass
def test_bad(): assert 1 == 2, "one is not two"
def test_skipped(): pytest.skip("later")
@pytest.fixture
def broken(): raise RuntimeError("no server")
def test_error(broken): pass
"""


def test_a_suite_reports_progress_failures_and_junit(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text(TESTS, encoding="utf-8")
    step = Step("x")
    suite = checks.run(
        "x", ["-c", os.devnull, f"--rootdir={tmp_path}", str(tmp_path)], tmp_path / "reports", step
    )
    assert (suite.passed, suite.skipped, len(suite.failures)) == (1, 1, 2)
    assert "one is not two" in suite.failures[0].message
    assert step.detail.startswith("4/4, 2 failed")
    assert junit.totals([suite.report]) == junit.Totals(1, 2, 1)
    assert not suite.ok


def test_a_suite_without_tests_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text("", encoding="utf-8")
    suite = checks.run("x", ["-c", os.devnull, str(tmp_path)], tmp_path / "reports", Step("x"))
    assert [failure.message for failure in suite.failures] == ["no test was found"]


def test_sums_count_a_missing_report_as_failed(tmp_path: Path) -> None:
    file = tmp_path / "r.xml"
    junit.write(file, "lint", [junit.Case("ruff", 0.1), junit.Case("mypy", 0.2, "bad\x1b[0m\nworse")])
    assert junit.totals([file]) == junit.Totals(1, 1, 0)
    sums = junit.totals([file, tmp_path / "absent.xml"])
    assert str(sums) == "1 passed, 2 failed"
    assert str(sums + junit.Totals(skipped=2)) == "1 passed, 2 failed, 2 skipped"


def launcher(link: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(link), *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd="/",
        env={**os.environ, **environment},
    )


def test_the_launcher_works_through_symlinks_from_anywhere(tmp_path: Path) -> None:
    own = [str(bootstrap.VENV / "bin" / "python"), "-P", str(ROOT / "labctl" / "bootstrap.py"), "--check"]
    if not Path(own[0]).exists() or subprocess.run(own, check=False).returncode != 0:
        pytest.skip("./lab has not made .venv here")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "lab").symlink_to(ROOT / "lab")
    (tmp_path / "lab").symlink_to("bin/lab")
    done = launcher(tmp_path / "lab", "--help")
    assert done.returncode == 0
    assert "Warren" in done.stdout


def test_a_linked_environment_is_left_alone(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "venv").symlink_to(elsewhere)
    with pytest.raises(OSError, match="is a symbolic link"):
        bootstrap.build(tmp_path / "venv")
    assert elsewhere.is_dir()
    assert (tmp_path / "venv").is_symlink()


def test_the_launcher_passes_over_a_python_that_fails(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "labctl").mkdir(parents=True)
    (project / "lab").write_bytes((ROOT / "lab").read_bytes())
    (project / "lab").chmod(0o755)
    (project / "labctl" / "bootstrap.py").write_text(
        "import sys; print('chosen', sys.executable); sys.exit(2)"
    )
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("python3.14", "python3.13", "python3.12"):  # shims without a version behind them
        (programs / name).write_text("#!/bin/sh\necho 'command not found' >&2\nexit 127\n", encoding="utf-8")
        (programs / name).chmod(0o755)
    (programs / "python3.11").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', encoding="utf-8")
    (programs / "python3.11").chmod(0o755)
    (programs / "pyenv").write_text(f"#!/bin/sh\necho {tmp_path}/none\n", encoding="utf-8")
    (programs / "pyenv").chmod(0o755)
    done = launcher(project / "lab", PATH=f"{programs}:/usr/bin:/bin", HOME=str(tmp_path))
    assert done.returncode == 2
    assert "chosen" in done.stdout


@pytest.mark.parametrize("command", ["status", "verify"])
def test_a_lab_that_was_never_made_is_named(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"broker-1": "missing", "worker-1": "missing"}
    monkeypatch.setattr(DockerSubstrate, "states", lambda _: found)
    paths = LabPaths("nowhere", root=tmp_path)
    empty = Context(paths, DockerSubstrate(paths), Screen())
    with pytest.raises(UsageError, match=r"There is no lab nowhere; \./lab up creates it, "):
        nodes.read(empty) if command == "status" else verify.run(empty)
