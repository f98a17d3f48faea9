"""Work in threads: its results, and the end of the rest when a part fails."""

from __future__ import annotations

import time
from functools import partial

import pytest

from labctl.errors import LabError
from labctl.programs import process, side_by_side
from labctl.screen import Screen


def test_results_come_in_the_order_of_the_work() -> None:
    def part(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    assert side_by_side.run([partial(part, 0.2), partial(part, 0.0)], at_once=2) == [0.2, 0.0]
    assert side_by_side.run([]) == []


def test_a_failure_ends_the_programs_of_the_others_and_leaves_out_the_rest() -> None:
    ended: list[int] = []

    def sleeper() -> None:
        ended.append(process.stream(["sleep", "60"], lambda _line: None))

    def failing() -> None:
        time.sleep(0.5)  # until the program runs
        raise LabError("no")

    started = time.monotonic()
    with pytest.raises(LabError, match="no"):
        side_by_side.run([sleeper, failing, sleeper], at_once=2)
    assert time.monotonic() - started < 20
    assert ended == [143]


def test_a_program_of_a_part_has_a_line_that_names_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labctl.screen.HEARTBEAT_S", 0.0)
    screen = Screen()
    with screen.step("one") as one:
        one.update("alone")
        with screen.step("two") as two:
            two.update("beside")
            one.update("still")
    out = capsys.readouterr().err
    assert "s  alone" in out
    assert "s  two: beside" in out
    assert "s  one: still" in out
