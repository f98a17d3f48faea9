"""The arithmetic of a drill's ledger: what was confirmed against what was done."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

DONE = "done"
DUPLICATE = "duplicate"
LOST = "lost"


@dataclass(frozen=True)
class Published:
    """A unit as its publisher recorded it; times in seconds since 1970, None for what did not happen."""

    unit: int
    kind: str
    publisher: str
    attempted: float
    confirmed: float | None = None
    unknown: float | None = None


@dataclass(frozen=True)
class Attempt:
    """One start of a unit in a worker's process. `outcome` is None, or LOST, when it never ended."""

    id: int
    unit: int
    number: int
    host: str
    pid: int
    started: float
    ended: float | None = None
    outcome: str | None = None


@dataclass(frozen=True)
class DeadLetter:
    """A unit in the dead-letter queue, with RabbitMQ's reason."""

    unit: int
    reason: str
    queue: str = ""
    count: int = 0


@dataclass(frozen=True)
class Ledger:
    """The record of a run. `effects`: by unit, the attempt that had the unit's effect.

    Of an own application, this is the attempt that ended first. `raised`: attempts that ended with an
    exception. `left`: messages that are still in the queue.
    """

    published: Mapping[int, Published]
    attempts: Sequence[Attempt]
    effects: Mapping[int, int]
    dead: Sequence[DeadLetter] = ()
    raised: int = field(default=0, kw_only=True)
    left: int = field(default=0, kw_only=True)

    @cached_property
    def attempts_of(self) -> Mapping[int, list[Attempt]]:
        """Attempts by unit, in the order of their starts."""
        found: defaultdict[int, list[Attempt]] = defaultdict(list)
        for attempt in sorted(self.attempts, key=lambda attempt: attempt.started):
            found[attempt.unit].append(attempt)
        return found

    @property
    def confirms(self) -> list[Published]:
        """Confirmed units, in the order of their confirms."""
        confirmed = [unit for unit in self.published.values() if unit.confirmed is not None]
        return sorted(confirmed, key=lambda unit: unit.confirmed or 0.0)


def parse_ledger(document: Mapping[str, Any], dead: Iterable[Mapping[str, Any]] = ()) -> Ledger:
    """A ledger from the output of `mosaic drill ledger` and `mosaic drill dead`, or from witnesses.

    Raises ValueError when a state has no attempt, or a unit was attempted twice.
    """
    published: dict[int, Published] = {}
    for entry in document["published"]:
        unit, state, at = int(entry["unit"]), str(entry["state"]), float(entry["at"])
        if state == "attempted":
            if unit in published:
                raise ValueError(f"unit {unit} was attempted twice")
            published[unit] = Published(unit, str(entry["kind"]), str(entry["publisher"]), at)
            continue
        before = published.get(unit)
        if before is None or state not in ("confirmed", "unknown"):
            raise ValueError(f"unit {unit} is {state} without having been attempted")
        changed: dict[str, Any] = {state: at}
        published[unit] = replace(before, **changed)
    names = [item.name for item in fields(Attempt)]
    attempts = [Attempt(**{name: entry[name] for name in names}) for entry in document["attempts"]]
    effects = {int(unit): int(attempt) for unit, attempt in document["effects"].items()}
    letters = [DeadLetter(**letter) for letter in dead]
    counts = {name: int(document.get(name, 0)) for name in ("raised", "left")}
    return Ledger(published, attempts, effects, letters, **counts)


@dataclass(frozen=True)
class Totals:
    """The sums of a ledger. Lists hold units, numbers count them.

    lost: confirmed, neither executed nor among the dead letters. unexpected: executed, never attempted.
    recovered: executed although no confirm came. twice: units of which not exactly one attempt, the one that
    the effect names, is done. duplicates: attempts that found the effect present. repeated: attempts after a
    unit's first.
    """

    attempted: int
    confirmed: int
    unknown: int
    executed: int
    recovered: int
    duplicates: int
    repeated: int
    dead: int
    lost: list[int]
    unexpected: list[int]
    twice: list[int]


def add_up(ledger: Ledger) -> Totals:
    """Add a ledger up."""
    attempted = set(ledger.published)
    confirmed = {unit.unit for unit in ledger.confirms}
    unknown = attempted - confirmed
    executed = set(ledger.effects)
    dead = {letter.unit for letter in ledger.dead}
    outcomes = Counter(attempt.outcome for attempt in ledger.attempts)
    done: defaultdict[int, list[int]] = defaultdict(list)
    for attempt in ledger.attempts:
        if attempt.outcome == DONE:
            done[attempt.unit].append(attempt.id)
    return Totals(
        attempted=len(attempted),
        confirmed=len(confirmed),
        unknown=len(unknown),
        executed=len(executed),
        recovered=len(executed & unknown),
        duplicates=outcomes[DUPLICATE],
        repeated=len(ledger.attempts) - len(ledger.attempts_of),
        dead=len(dead),
        lost=sorted(confirmed - executed - dead),
        unexpected=sorted((executed | set(ledger.attempts_of)) - attempted),
        twice=sorted(unit for unit in {*done, *executed} if done[unit] != [ledger.effects.get(unit)]),
    )
