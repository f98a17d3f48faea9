"""What is shown of a program that failed."""

from __future__ import annotations

from labctl.ansible import failures


def test_the_end_begins_with_the_first_failed_task() -> None:
    lines = ["TASK [one]", "ok: [broker-1]", "", "TASK [two]", "fatal: [broker-1]: FAILED!", "msg: no"]
    assert failures.ending(lines) == "fatal: [broker-1]: FAILED!\nmsg: no"


def test_without_a_failed_task_the_end_is_all_that_was_said() -> None:
    assert failures.ending(["said", "", "nothing"]) == "said\nnothing"
    assert failures.ending([]) == ""
    assert len(failures.ending([f"line {number}" for number in range(100)]).splitlines()) == 40
