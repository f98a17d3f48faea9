"""CPU time of each kind of node: of all its processes, also those that have ended."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from labctl.bench.programs import Program, ask_all, started
from labctl.substrates.base import Substrate, distinct


@dataclass(frozen=True)
class Reading:
    """For each host: seconds of its clock, and of CPU time since it started."""

    hosts: Mapping[str, tuple[float, float]]


class Meter:
    """Reads the CPU time of all hosts."""

    def __init__(self, programs: list[Program], groups: Mapping[str, list[str]]) -> None:
        self._programs = programs
        self._kinds = kinds(groups)

    def read(self) -> Reading:
        """Ask every host now. Raises LabError."""
        answers = ask_all(self._programs)
        pairs = zip(self._programs, answers, strict=True)
        return Reading({program.host: (found["at"], found["cpu"]) for program, found in pairs})

    def used(self, before: Reading, after: Reading, idle: Mapping[str, float]) -> dict[str, float]:
        """CPU seconds of each kind of node between two readings, without those of the idle lab.

        `idle`: cores in use while nothing is measured, by kind.
        """
        total: dict[str, float] = {}
        longest: dict[str, float] = {}
        for host, (at, cpu) in after.hosts.items():
            kind, (first_at, first_cpu) = self._kinds[host], before.hosts[host]
            total[kind] = total.get(kind, 0.0) + cpu - first_cpu
            longest[kind] = max(longest.get(kind, 0.0), at - first_at)
        return {kind: seconds - idle.get(kind, 0.0) * longest[kind] for kind, seconds in total.items()}

    def cores(self, before: Reading, after: Reading) -> dict[str, float]:
        """Cores in use between two readings, by kind."""
        host = next(iter(after.hosts))
        seconds = after.hosts[host][0] - before.hosts[host][0]
        return {kind: used / seconds for kind, used in self.used(before, after, {}).items()}


def kinds(groups: Mapping[str, list[str]]) -> dict[str, str]:
    """The kind of each host: its group, or its groups as "gateways+databases"."""
    return {
        host: "+".join(group for group, hosts in groups.items() if host in hosts) for host in distinct(groups)
    }


@contextmanager
def meter(substrate: Substrate) -> Iterator[Meter]:
    """A reader on every host."""
    groups = substrate.groups()
    with started(substrate, distinct(groups), "cpu.py", {"part": "cpu"}, "python3") as programs:
        yield Meter(programs, groups)
