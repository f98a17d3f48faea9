"""How long a run stood still: the longest time without a publisher confirm, or without a start of a task."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from labctl.drills.ledger import Ledger


@dataclass(frozen=True)
class Gap:
    """From one event to the next, in seconds since 1970; `who` is the publisher or the host."""

    begin: float
    end: float
    who: str = ""

    @property
    def seconds(self) -> float:
        return self.end - self.begin


@dataclass(frozen=True)
class Window:
    """The part of a run that belongs to one fault: until the next one is injected, or the load ends."""

    begin: float
    end: float


@dataclass(frozen=True)
class Metrics:
    """Longest gaps of a window, in seconds since 1970.

    publish: of the publisher that waited longest. execution: of all hosts together. host: of the worker
    host that stood still longest. first_execution: seconds from the fault to the next start, None without
    one. rerun: seconds from the fault to the next start of the unit that it interrupted. wait: the longest
    time from a confirm to the unit's first start.
    """

    publish: Gap
    execution: Gap
    host: Gap
    first_execution: float | None
    rerun: float | None
    wait: float

    def as_json(self) -> dict[str, Any]:
        found = {**asdict(self), "wait": round(self.wait, 3)}
        for name in ("publish", "execution", "host"):
            found[name]["seconds"] = round(getattr(self, name).seconds, 3)
        return found


def longest(times: Sequence[float], window: Window, who: str = "") -> Gap:
    """The longest time between two neighbours of `times` that reaches into the window.

    Without a neighbour, begin and end of the window count: without events the gap is the window.
    """
    inside = sorted(time for time in times if time < window.end)
    before = [time for time in inside if time <= window.begin]
    points = [before[-1] if before else window.begin, *inside[len(before) :], window.end]
    return max((Gap(a, b, who) for a, b in pairwise(points)), key=lambda gap: gap.seconds)


def measure(ledger: Ledger, window: Window, *, hosts: Iterable[str], held: int | None = None) -> Metrics:
    """The gaps of one fault. `hosts`: those that it should not stop; `held`: the unit that it interrupted."""
    by_publisher: defaultdict[str, list[float]] = defaultdict(list)
    for unit in ledger.confirms:
        by_publisher[unit.publisher].append(unit.confirmed or 0.0)
    by_host: defaultdict[str, list[float]] = defaultdict(list)
    for attempt in ledger.attempts:
        by_host[attempt.host].append(attempt.started)
    starts = sorted(attempt.started for attempt in ledger.attempts)
    after = [start for start in starts if start > window.begin]
    return Metrics(
        publish=_worst(
            longest(by_publisher[name], window, name)
            for name in {unit.publisher for unit in ledger.published.values()}
        ),
        execution=longest(starts, window),
        host=_worst(longest(by_host[host], window, host) for host in hosts),
        first_execution=after[0] - window.begin if after else None,
        rerun=_rerun(ledger, window, held),
        wait=_longest_wait(ledger, window),
    )


def _worst(found: Iterable[Gap]) -> Gap:
    return max(found, key=lambda gap: gap.seconds, default=Gap(0.0, 0.0))


def _rerun(ledger: Ledger, window: Window, held: int | None) -> float | None:
    if held is None:
        return None
    starts = [attempt.started for attempt in ledger.attempts_of.get(held, ())[1:]]
    return next((start - window.begin for start in starts if start > window.begin), None)


def _longest_wait(ledger: Ledger, window: Window) -> float:
    waits = [0.0]
    for unit in ledger.confirms:
        attempts = ledger.attempts_of.get(unit.unit)
        if attempts and unit.confirmed is not None and window.begin - 5 <= unit.confirmed < window.end:
            waits.append(attempts[0].started - unit.confirmed)
    return max(waits)
