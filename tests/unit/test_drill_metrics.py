"""Gaps of drills, measured on invented runs."""

from __future__ import annotations

import pytest

from labctl.drills.ledger import Attempt, Ledger, Published
from labctl.drills.metrics import Gap, Window, longest, measure


@pytest.mark.parametrize(
    ("times", "window", "expected"),
    [
        ([1.0, 2.0, 5.0, 6.0], Window(1.5, 7.0), Gap(2.0, 5.0)),
        ([1.0, 6.0], Window(3.0, 6.5), Gap(1.0, 6.0)),  # it began before the fault
        ([1.0, 2.0], Window(1.5, 9.0), Gap(2.0, 9.0)),  # and never ended
        ([], Window(1.0, 4.0), Gap(1.0, 4.0)),
        ([1.0, 9.0, 9.5], Window(1.0, 5.0), Gap(1.0, 5.0)),  # the next window's events are not this one's
    ],
)
def test_longest(times: list[float], window: Window, expected: Gap) -> None:
    assert longest(times, window) == expected


def ledger() -> Ledger:
    """Two publishers and two hosts at 10 units/s for 10 s; from 4 to 7 s publisher b and host w2 stand still.

    Unit 35 of w2 begins at 3.5 s, does not end, and is begun again by w1 at 5.2 s.
    """
    published, attempts = {}, []
    for unit in range(100):
        at = unit / 10
        second = unit % 2 == 1
        if second and 4 <= at < 7:
            continue
        published[unit] = Published(unit, "work", "b" if second else "a", at, at + 0.01)
        host = "w2" if second else "w1"
        attempts.append(Attempt(unit, unit, 1, host, 1, at + 0.02, None if unit == 35 else at + 0.03))
    attempts.append(Attempt(1000, 35, 2, "w1", 1, 5.2, 5.3, "done"))
    return Ledger(published, attempts, {})


def test_gaps_of_a_fault() -> None:
    found = measure(ledger(), Window(4.0, 10.0), hosts=["w1", "w2"], held=35)
    assert (found.publish.who, round(found.publish.seconds, 1)) == ("b", 3.2)
    assert (found.host.who, round(found.host.seconds, 1)) == ("w2", 3.2)
    assert round(found.execution.seconds, 1) == 0.2
    assert found.rerun == pytest.approx(1.2)
    assert found.first_execution == pytest.approx(0.02)
    assert found.wait == pytest.approx(0.01)


def test_a_host_that_was_hit_does_not_count() -> None:
    assert round(measure(ledger(), Window(4.0, 10.0), hosts=["w1"]).host.seconds, 1) == 0.2


def test_a_unit_that_is_not_begun_again_has_no_rerun() -> None:
    found = measure(ledger(), Window(6.0, 10.0), hosts=["w1", "w2"], held=35)
    assert found.rerun is None
