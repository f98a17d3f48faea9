"""What each kind of node uses: CPU time of all its processes, also those that have ended, and bytes sent."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from labctl.bench.programs import Program, ask_all, started
from labctl.substrates.base import Substrate, distinct


@dataclass(frozen=True)
class Use:
    """Seconds of CPU time, and bytes to other hosts."""

    cpu: float
    sent: float

    def plus(self, other: "Use", times: float = 1.0) -> "Use":
        return Use(self.cpu + other.cpu * times, self.sent + other.sent * times)


NOTHING = Use(0.0, 0.0)


@dataclass(frozen=True)
class Reading:
    """For each host: seconds of its clock, and what it has used since it started."""

    hosts: Mapping[str, tuple[float, Use]]


class Meter:
    """Reads what all hosts have used."""

    def __init__(self, programs: list[Program], groups: Mapping[str, list[str]]) -> None:
        self._programs = programs
        self._kinds = kinds(groups)

    def read(self) -> Reading:
        """Ask every host now. Raises LabError."""
        pairs = zip(self._programs, ask_all(self._programs), strict=True)
        return Reading(
            {asked.host: (found["at"], Use(found["cpu"], found["sent"])) for asked, found in pairs}
        )

    def used(self, before: Reading, after: Reading, idle: Mapping[str, Use]) -> dict[str, Use]:
        """What each kind of node used between two readings, without the use of the idle lab.

        `idle`: use a second while nothing is measured, by kind.
        """
        total: dict[str, Use] = {}
        for host, (_, use) in after.hosts.items():
            kind = self._kinds[host]
            total[kind] = total.get(kind, NOTHING).plus(use).plus(before.hosts[host][1], -1)
        seconds = duration(before, after)
        return {kind: use.plus(idle.get(kind, NOTHING), -seconds) for kind, use in total.items()}

    def a_second(self, before: Reading, after: Reading) -> dict[str, Use]:
        """Use a second between two readings, by kind: for CPU time, this is cores."""
        seconds = duration(before, after)
        return {kind: NOTHING.plus(use, 1 / seconds) for kind, use in self.used(before, after, {}).items()}


def median(uses: Sequence[Mapping[str, Use]]) -> dict[str, Use]:
    """The median of several uses, by kind."""
    return {
        kind: Use(
            statistics.median(use[kind].cpu for use in uses),
            statistics.median(use[kind].sent for use in uses),
        )
        for kind in uses[0]
    }


def duration(before: Reading, after: Reading) -> float:
    """Seconds between two readings, by the clock of one host."""
    host = next(iter(after.hosts))
    return after.hosts[host][0] - before.hosts[host][0]


def kinds(groups: Mapping[str, list[str]]) -> dict[str, str]:
    """The kind of each host: its group, or its groups as "gateways+databases"."""
    return {
        host: "+".join(group for group, hosts in groups.items() if host in hosts) for host in distinct(groups)
    }


@contextmanager
def meter(substrate: Substrate) -> Iterator[Meter]:
    """A reader on every host."""
    groups = substrate.groups()
    with started(substrate, distinct(groups), "usage.py", {"part": "usage"}, "python3") as programs:
        yield Meter(programs, groups)
