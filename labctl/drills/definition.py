"""A drill: a fault at hosts of the lab under a load, and what must be true afterwards."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from labctl.drills.targets import Targets


@dataclass(frozen=True)
class SingleTask:
    """One unit of a special kind, and the seconds that it takes, None where the kind takes none."""

    kind: str
    seconds: float | None = None


@dataclass(frozen=True)
class Fault:
    """One fault at known hosts: a playbook of playbooks/drills, a host without power, or a unit to publish.

    `hit`: worker hosts that the fault stops.
    """

    what: str
    playbook: str = ""
    hosts: tuple[str, ...] = ()
    variables: Mapping[str, object] = field(default_factory=dict)
    heals: bool = False
    power: str = ""
    publish: SingleTask | None = None
    hit: tuple[str, ...] = ()


MakeFault = Callable[[Targets], Fault]


@dataclass(frozen=True)
class Limit:
    """Upper bounds in seconds: of the median of three rounds or more, and of each round."""

    median: float
    worst: float


@dataclass(frozen=True, eq=False)
class Drill:
    """A fault with its expectation.

    `duration`: seconds from the fault to its end. `settle`: seconds of load after that. `limits`: metric of
    labctl.drills.metrics -> bounds. `interrupts`: the fault hits a host that runs a long unit. `dead`: why
    one unit a round ends in the dead-letter queue. `own`: it suits an own application of the user.
    `at_least`: metric -> seconds that show that the fault was there. `needs`: group -> hosts.
    """

    name: str
    breaks: str
    fault: MakeFault
    limits: Mapping[str, Limit]
    duration: float = 0.0
    settle: float = 5.0
    interrupts: bool = False
    dead: str = ""
    own: bool = True
    at_least: Mapping[str, float] = field(default_factory=dict)
    needs: Mapping[str, int] = field(default_factory=dict)

    def lacks(self, groups: Mapping[str, list[str]]) -> str:
        """What a lab of these groups lacks for the drill, "" when nothing."""
        lacking = [
            f"{least} {name}, not {len(groups[name])}"
            for name, least in self.needs.items()
            if len(groups[name]) < least
        ]
        return " and ".join(lacking)

    def expectation(self) -> str:
        """The expectation in words."""
        words = ["nothing lost"]
        if self.dead:
            words.append(f"the poison task a dead letter ({self.dead})")
        words += [f"{name} <= {limit.median:g}/{limit.worst:g} s" for name, limit in self.limits.items()]
        return ", ".join(words)


@dataclass(frozen=True)
class Series:
    """The drills of one run, one after another under one load.

    The load is of single tasks, published by a gateway, or with `jobs` of jobs that users submit. `breaks`
    and `expects` are for the list of drills, of a series that has a name in it.
    """

    name: str
    drills: tuple[Drill, ...]
    jobs: bool = False
    breaks: str = ""
    expects: str = ""
