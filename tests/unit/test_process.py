"""No program outlives the command that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labctl.paths import ROOT
from labctl.programs import process
from labctl.screen import Step

FAMILY = (
    "import subprocess,sys,time; c=subprocess.Popen(['sleep','60']); print(c.pid,flush=True); time.sleep(60)"
)


def gone(pid: int) -> bool:
    """True when the process ends within 8 s."""
    deadline = time.monotonic() + 8
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def test_lines_of_both_streams_and_the_status_come_back() -> None:
    lines: list[str] = []
    status = process.stream(["sh", "-c", "echo out; echo err >&2; exit 7"], lines.append)
    assert status == 7
    assert sorted(lines) == ["err", "out"]


def test_a_program_that_does_not_exist_is_a_failure_with_a_reason() -> None:
    lines: list[str] = []
    assert process.stream(["/no/such/program"], lines.append) != 0
    assert "cannot be run" in "".join(lines)


def test_an_interrupt_ends_the_program_and_its_children() -> None:
    pids: list[int] = []

    def interrupt(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process.stream([sys.executable, "-c", FAMILY], interrupt)
    assert gone(pids[0])


def test_a_child_that_ignores_the_request_is_killed() -> None:
    pids: list[int] = []

    def interrupt(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        process.stream(["sh", "-c", "trap '' TERM; echo $$; while :; do sleep 1; done"], interrupt)
    assert gone(pids[0])


def test_a_program_ended_by_a_signal_is_a_failure() -> None:
    assert process.stream(["sh", "-c", "kill -9 $$"], print) == 128 + signal.SIGKILL


@pytest.mark.parametrize("program", [["sh", "-c", "echo $$; exec sleep 60"], [sys.executable, "-c", FAMILY]])
def test_what_was_started_ends_when_the_command_is_killed(program: list[str]) -> None:
    code = f"from labctl.programs.process import stream;stream({program!r}, lambda l: print(l, flush=True))"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)
        assert gone(child)


def test_a_followed_program_shows_its_subject_and_its_last_lines_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = Step("work")
    shown: list[str] = []
    monkeypatch.setattr(step, "update", shown.append)
    script = "for word in one '' two three; do echo $word; done; echo bad >&2; exit 3"
    done = process.follow(["sh", "-c", script], step, subject=lambda line: line.replace("two", "").upper())
    assert (done.status, done.ok) == (3, False)
    assert done.lines == ["one", "", "two", "three", "bad"]
    assert shown == ["ONE", "THREE", "BAD"]
    assert done.ending(2) == "three\nbad"


def test_a_silent_program_has_an_ending_too() -> None:
    done = process.follow(["true"], Step("work"))
    assert done.ok
    assert done.ending() == "no message"
