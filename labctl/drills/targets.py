"""The hosts of the lab that a drill may hit, and a random choice that its seed repeats."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from labctl.errors import UsageError

Blocked = dict[str, list[str]]


@dataclass(frozen=True)
class Held:
    """A process of a worker that runs a unit longer than until the fault."""

    unit: int
    host: str
    pid: int


@dataclass
class Targets:
    """The lab at the moment before a fault, as a load uses it.

    `leader`: of the load's `queue`. `worker_unit`: the systemd unit that executes the load. `caught`: the
    running task that the fault is to interrupt, if any.
    """

    groups: Mapping[str, list[str]]
    leader: str
    random: Random = field(repr=False)
    queue: str
    worker_unit: str
    caught: Held | None = None

    @property
    def held(self) -> Held:
        """The running unit; UsageError when there is none."""
        if self.caught is None:
            raise UsageError(
                "No unit was running for this fault; the workers are too slow, give the lab more CPU."
            )
        return self.caught

    @property
    def brokers(self) -> list[str]:
        return sorted(self.groups["brokers"])

    @property
    def workers(self) -> list[str]:
        return sorted(self.groups["workers"])

    def follower(self) -> str:
        """A random broker that does not lead; in a lab with one broker, that one."""
        return self.random.choice([name for name in self.brokers if name != self.leader] or self.brokers)

    def broker(self) -> str:
        """A random broker."""
        return self.random.choice(self.brokers)

    def worker(self) -> str:
        """A random worker host."""
        return self.random.choice(self.workers)

    def shuffled(self) -> list[str]:
        """The brokers in random order."""
        return self.random.sample(self.brokers, len(self.brokers))


def isolate(brokers: list[str], alone: str) -> Blocked:
    """One broker apart from all others."""
    others = [name for name in brokers if name != alone]
    return {alone: others, **{name: [alone] for name in others}}


def halves(brokers: list[str]) -> Blocked:
    """The first half apart from the second, which is the larger of an odd number (Jepsen's `bisect`)."""
    middle = len(brokers) // 2
    left, right = brokers[:middle], brokers[middle:]
    return {**dict.fromkeys(left, right), **dict.fromkeys(right, left)}


def majorities_ring(brokers: list[str]) -> Blocked:
    """Each broker sees a majority, and no two the same one (Jepsen's `majorities-ring`).

    Of three, each takes packets of itself and its neighbour only, so that every link is cut in one direction.
    """
    count = len(brokers)
    majority = count // 2 + 1
    blocked: Blocked = {}
    for start in range(count):
        seen = [brokers[(start + step) % count] for step in range(majority)]
        middle = seen[len(seen) // 2]
        blocked[middle] = [name for name in brokers if name not in seen]
    return blocked
