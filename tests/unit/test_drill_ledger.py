"""The arithmetic of drills finds what is lost, unexpected, executed twice or dead in invented ledgers."""

from __future__ import annotations

from typing import Any

import pytest

from labctl.drills.ledger import Totals, add_up, parse_ledger

START = 1000.0


def document(units: int) -> dict[str, Any]:
    """A run in which each unit was confirmed and executed once, by worker-1, 0.1 s after it was attempted."""
    published: list[dict[str, Any]] = []
    attempts = []
    for unit in range(1, units + 1):
        at = START + unit
        entry = {"unit": unit, "kind": "work", "publisher": "celery"}
        published += [
            {**entry, "at": at, "state": "attempted"},
            {**entry, "at": at + 0.05, "state": "confirmed"},
        ]
        attempts.append(attempt(unit, at + 0.1))
    return {
        "published": published,
        "attempts": attempts,
        "effects": {str(a["unit"]): a["id"] for a in attempts},
    }


def attempt(unit: int, started: float, number: int = 1, outcome: str | None = "done") -> dict[str, Any]:
    return {
        "id": unit * 10 + number,
        "unit": unit,
        "number": number,
        "host": "worker-1",
        "pid": 7,
        "redelivered": number > 1,
        "started": started,
        "ended": None if outcome is None else started + 0.02,
        "outcome": outcome,
    }


def totals(found: Any, dead: Any = ()) -> Totals:
    return add_up(parse_ledger(found, dead))


def test_a_run_without_trouble() -> None:
    assert totals(document(5)) == Totals(5, 5, 0, 5, 0, 0, 0, 0, [], [], [])


def test_confirmed_and_never_executed_is_lost() -> None:
    found = document(5)
    found["attempts"] = [a for a in found["attempts"] if a["unit"] != 3]
    del found["effects"]["3"]
    assert totals(found).lost == [3]


def test_begun_and_never_ended_is_lost() -> None:
    found = document(5)
    found["attempts"][2] = attempt(3, START + 3.1, outcome=None)
    del found["effects"]["3"]
    assert totals(found).lost == [3]


def test_a_dead_letter_is_not_lost() -> None:
    found = document(5)
    found["attempts"][2] = attempt(3, START + 3.1, outcome=None)
    del found["effects"]["3"]
    result = totals(found, [{"unit": 3, "reason": "delivery_limit", "queue": "mosaic.drill", "count": 1}])
    assert (result.lost, result.dead) == ([], 1)


def test_executed_without_having_been_attempted_is_unexpected() -> None:
    found = document(5)
    found["attempts"].append(attempt(99, START + 9))
    found["effects"]["99"] = 991
    assert totals(found).unexpected == [99]


def test_begun_without_having_been_attempted_is_unexpected() -> None:
    found = document(5)
    found["attempts"].append(attempt(99, START + 9, outcome=None))
    assert totals(found).unexpected == [99]


def test_unknown_is_not_lost_and_recovered_when_executed() -> None:
    found = document(5)
    for entry in found["published"]:
        if entry["unit"] in (2, 3) and entry["state"] == "confirmed":
            entry["state"] = "unknown"
    found["attempts"] = [a for a in found["attempts"] if a["unit"] != 3]
    del found["effects"]["3"]
    result = totals(found)
    assert (result.confirmed, result.unknown, result.recovered, result.lost) == (3, 2, 1, [])


def test_a_second_delivery_is_a_duplicate_and_has_no_second_effect() -> None:
    found = document(5)
    found["attempts"].append(attempt(2, START + 8, number=2, outcome="duplicate"))
    result = totals(found)
    assert (result.duplicates, result.repeated, result.executed, result.twice) == (1, 1, 5, [])


def test_an_effect_that_two_attempts_had_is_found() -> None:
    found = document(5)
    found["attempts"].append(attempt(2, START + 8, number=2, outcome="done"))
    assert totals(found).twice == [2]


def test_an_effect_without_an_attempt_that_had_it_is_found() -> None:
    found = document(5)
    found["attempts"][1]["outcome"] = None
    assert totals(found).twice == [2]


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([("attempted", 1), ("attempted", 1)], "unit 1 was attempted twice"),
        ([("confirmed", 1)], "unit 1 is confirmed without having been attempted"),
        ([("attempted", 1), ("sent", 1)], "unit 1 is sent"),
    ],
)
def test_a_file_that_is_no_ledger_is_refused(entries: list[tuple[str, int]], words: str) -> None:
    published = [
        {"at": START, "unit": unit, "kind": "work", "publisher": "celery", "state": state}
        for state, unit in entries
    ]
    with pytest.raises(ValueError, match=words):
        parse_ledger({"published": published, "attempts": [], "effects": {}})
