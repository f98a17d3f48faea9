"""The drills: what each breaks, under which load, and what must be true afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from labctl.drills.scene import Blocked, Scene, halves, isolate, majorities_ring
from labctl.errors import UsageError

BROKER = "rabbitmq-server.service"
PROXY = "haproxy.service"
DATABASE = "postgresql.service"
WORKERS = {"lab": "mosaic-worker@render.service", "stock": "lab-drill-stock.service"}
QUEUES = {"lab": "mosaic.drill", "stock": "celery"}
HELD_SECONDS = 6.0  # of the unit that a fault is to interrupt: longer than a playbook takes to start


@dataclass(frozen=True)
class Shape:
    """A load: units a second, and seconds that each takes."""

    rate: float = 40.0
    seconds: float = 0.03


@dataclass(frozen=True)
class Fault:
    """One fault at known hosts: a playbook of playbooks/drills, a host without power, or a unit to publish.

    `hit`: worker hosts that cannot be expected to go on.
    """

    what: str
    playbook: str = ""
    hosts: tuple[str, ...] = ()
    variables: Mapping[str, object] = field(default_factory=dict)
    heals: bool = False
    power: str = ""
    publish: Mapping[str, object] | None = None
    hit: tuple[str, ...] = ()


@dataclass(frozen=True)
class Held:
    """A worker's process with a unit that will not end by itself before the fault."""

    unit: int
    host: str
    pid: int


Aim = Callable[[Scene, str, Held | None], Fault]


@dataclass(frozen=True)
class Limit:
    """Upper bounds in seconds: of the median of three rounds or more, and of each round."""

    median: float
    worst: float


@dataclass(frozen=True, eq=False)
class Drill:
    """A fault with its expectation.

    `hold`: seconds from the fault to its end. `settle`: seconds of load after that. `limits`: metric of
    labctl.drills.gaps -> bounds. `holds`: a unit that takes long is at work where the fault hits. `dead`: why
    one unit a round ends in the dead-letter queue. `control`: plain Celery loses units here, or stands still.
    `bites`: metric -> seconds that it must reach, or the fault was not there. `needs`: group -> hosts.
    """

    name: str
    breaks: str
    aim: Aim
    limits: Mapping[str, Limit]
    hold: float = 0.0
    settle: float = 5.0
    load: Shape = Shape()
    holds: bool = False
    dead: str = ""
    control: bool = False
    bites: Mapping[str, float] = field(default_factory=dict)
    needs: Mapping[str, int] = field(default_factory=dict)

    def lacks(self, groups: Mapping[str, list[str]]) -> str:
        """What a lab of these groups lacks for it, "" when nothing."""
        lacking = [
            f"{least} {name}, not {len(groups[name])}"
            for name, least in self.needs.items()
            if len(groups[name]) < least
        ]
        return " and ".join(lacking)

    def expectation(self) -> str:
        """What is checked, in words."""
        words = ["nothing lost"]
        if self.dead:
            words.append(f"the culprit a dead letter ({self.dead})")
        words += [f"{name} <= {limit.median:g}/{limit.worst:g} s" for name, limit in self.limits.items()]
        return ", ".join(words)


def _kill_broker(name: str, role: str) -> Fault:
    return Fault(f"kill {name} ({role})", "kill.yml", (name,), {"drill_unit": BROKER})


def _freeze_broker(name: str, role: str) -> Fault:
    return Fault(f"freeze {name} ({role})", "freeze.yml", (name,), {"drill_unit": BROKER}, heals=True)


def _power(name: str, role: str) -> Fault:
    return Fault(f"power off {name} ({role})", power=name, heals=True)


def _partition(what: str, blocked: Blocked) -> Fault:
    cut = "; ".join(f"{name} <- {' '.join(others)}" for name, others in sorted(blocked.items()))
    return Fault(
        f"partition {what}: {cut}",
        "partition.yml",
        tuple(sorted(blocked)),
        {"drill_blocked": blocked},
        heals=True,
    )


def _shuffled(scene: Scene) -> list[str]:
    return scene.random.sample(scene.brokers, len(scene.brokers))


def _slow(scene: Scene, _profile: str, _held: Held | None) -> Fault:
    variables = {"drill_delay_ms": 100, "drill_loss_percent": 5, "drill_rate_kbit": 2000}
    return Fault("slow and lossy links", "slow_network.yml", tuple(scene.brokers), variables, heals=True)


def _alarm(resource: str) -> Aim:
    def aim(scene: Scene, _profile: str, _held: Held | None) -> Fault:
        name = scene.random.choice(scene.brokers)
        variables = {"drill_resource": resource}
        return Fault(f"{resource} alarm on {name}", "alarm.yml", (name,), variables, heals=True)

    return aim


def _held(held: Held | None) -> Held:
    if held is None:
        raise UsageError("No unit was caught at work; the lab's workers are too slow for this drill.")
    return held


def _kill_child(_scene: Scene, _profile: str, held: Held | None) -> Fault:
    held = _held(held)
    variables = {"drill_pid": held.pid}
    return Fault(f"kill process {held.pid} of {held.host}", "kill.yml", (held.host,), variables)


def _kill_worker(_scene: Scene, profile: str, held: Held | None) -> Fault:
    name = _held(held).host
    variables = {"drill_unit": WORKERS[profile]}
    return Fault(f"kill the worker of {name}", "kill.yml", (name,), variables, hit=(name,))


def _power_off_worker(_scene: Scene, _profile: str, held: Held | None) -> Fault:
    name = _held(held).host
    return Fault(f"power off {name}", power=name, heals=True, hit=(name,))


def _freeze_worker(_scene: Scene, profile: str, held: Held | None) -> Fault:
    name = _held(held).host
    variables = {"drill_unit": WORKERS[profile]}
    return Fault(f"freeze the worker of {name}", "freeze.yml", (name,), variables, heals=True, hit=(name,))


def _stop_database(scene: Scene, _profile: str, _held: Held | None) -> Fault:
    hosts = tuple(scene.groups["databases"])
    return Fault("stop the database", "stop.yml", hosts, {"drill_unit": DATABASE}, heals=True)


def _kill_proxy(scene: Scene, _profile: str, _held: Held | None) -> Fault:
    name = scene.worker()
    return Fault(f"kill the proxy of {name}", "kill.yml", (name,), {"drill_unit": PROXY})


def _restart_all(scene: Scene, _profile: str, _held: Held | None) -> Fault:
    variables = {"drill_unit": BROKER}
    return Fault("restart all brokers at once", "restart_at_once.yml", tuple(scene.brokers), variables)


def _rolling(scene: Scene, _profile: str, _held: Held | None) -> Fault:
    return Fault("restart the brokers one after another", "rolling_restart.yml", tuple(scene.brokers))


def _poison(_scene: Scene, _profile: str, _held: Held | None) -> Fault:
    return Fault("publish a poison task", publish={"publish": "poison"})


def _hog(scene: Scene, profile: str, _held: Held | None) -> Fault:
    return Fault(
        "publish a task longer than the consumer timeout",
        "consumer_timeout.yml",
        (scene.brokers[0],),
        {"drill_queue": QUEUES[profile], "drill_timeout_ms": 5000},
        heals=True,
        publish={"publish": "hog", "seconds": 150},
    )


_CLUSTER = {"brokers": 3}
_SEVERAL = {"workers": 2}
_KILLED = {"publish": Limit(1.0, 3.0), "execution": Limit(1.0, 3.0)}
_SILENT = {"publish": Limit(2.5, 6.0), "execution": Limit(3.0, 6.0), "host": Limit(4.0, 6.0)}

DRILLS = (
    Drill(
        "kill-broker-leader",
        "the broker that leads the queue is killed, and started again by systemd",
        lambda scene, _p, _h: _kill_broker(scene.leader, "leader"),
        _KILLED,
        control=True,
        needs=_CLUSTER,
    ),
    Drill(
        "kill-broker-follower",
        "a broker that follows is killed",
        lambda scene, _p, _h: _kill_broker(scene.follower(), "follower"),
        _KILLED,
        needs=_CLUSTER,
    ),
    Drill(
        "power-off-broker-leader",
        "the leader's host loses its power, without a word to its peers",
        lambda scene, _p, _h: _power(scene.leader, "leader"),
        _SILENT,
        hold=10,
        control=True,
        needs=_CLUSTER,
    ),
    Drill(
        "power-off-broker-follower",
        "a follower's host loses its power",
        lambda scene, _p, _h: _power(scene.follower(), "follower"),
        _SILENT,
        hold=10,
        needs=_CLUSTER,
    ),
    Drill(
        "freeze-broker-leader",
        "the leader answers nothing, and its connections stay open (SIGSTOP)",
        lambda scene, _p, _h: _freeze_broker(scene.leader, "leader"),
        _SILENT,
        hold=10,
        control=True,
        needs=_CLUSTER,
    ),
    Drill(
        "freeze-broker-follower",
        "a follower answers nothing",
        lambda scene, _p, _h: _freeze_broker(scene.follower(), "follower"),
        _SILENT,
        hold=10,
        needs=_CLUSTER,
    ),
    Drill(
        "partition-leader",
        "the leader loses its peers, not its clients",
        lambda scene, _p, _h: _partition("leader", isolate(scene.brokers, scene.leader)),
        _SILENT,
        hold=10,
        control=True,
        needs=_CLUSTER,
    ),
    Drill(
        "partition-random-node",
        "a random broker loses its peers (Jepsen's partition-random-node)",
        lambda scene, _p, _h: _partition("node", isolate(scene.brokers, scene.random.choice(scene.brokers))),
        _SILENT,
        hold=10,
        needs=_CLUSTER,
    ),
    Drill(
        "partition-halves",
        "the first half of the brokers is cut off from the second (partition-halves)",
        lambda scene, _p, _h: _partition("halves", halves(scene.brokers)),
        _SILENT,
        hold=10,
        needs=_CLUSTER,
    ),
    Drill(
        "partition-random-halves",
        "two random halves (partition-random-halves)",
        lambda scene, _p, _h: _partition("halves", halves(_shuffled(scene))),
        _SILENT,
        hold=10,
        needs=_CLUSTER,
    ),
    Drill(
        "partition-majorities-ring",
        "each broker hears a majority, no two the same (partition-majorities-ring); of three, no link works",
        lambda scene, _p, _h: _partition("ring", majorities_ring(_shuffled(scene))),
        {"publish": Limit(30, 40), "execution": Limit(30, 40)},
        hold=12,
        bites={"publish": 8.0},
        settle=25,
        needs=_CLUSTER,
    ),
    Drill(
        "slow-network",
        "packets between brokers come late, and some get lost",
        _slow,
        {"publish": Limit(2.5, 6), "host": Limit(3, 6)},
        hold=20,
        needs=_CLUSTER,
    ),
    Drill(
        "disk-alarm",
        "a broker runs out of disk and the cluster blocks publishers",
        _alarm("disk"),
        {"publish": Limit(22, 26), "execution": Limit(22, 26)},
        hold=20,
        bites={"publish": 4.0},
    ),
    Drill(
        "memory-alarm",
        "a broker runs out of memory and the cluster blocks publishers",
        _alarm("memory"),
        {"publish": Limit(22, 26), "execution": Limit(22, 26)},
        hold=20,
        bites={"publish": 4.0},
    ),
    Drill(
        "restart-all-brokers",
        "all brokers restart at the same time",
        _restart_all,
        {"publish": Limit(30, 40), "execution": Limit(30, 40)},
        settle=30,
    ),
    Drill(
        "rolling-restart",
        "the brokers restart one after another, as after a change of their configuration",
        _rolling,
        _SILENT,
        needs=_CLUSTER,
    ),
    Drill(
        "kill-pool-child",
        "the process that runs a task is killed in the middle of it",
        _kill_child,
        {"rerun": Limit(2, 4), "publish": Limit(1, 3)},
        holds=True,
        control=True,
    ),
    Drill(
        "kill-worker",
        "a worker is killed with all its processes in the middle of a task",
        _kill_worker,
        {"rerun": Limit(2, 4), "publish": Limit(1, 3), "execution": Limit(1, 3)},
        holds=True,
        control=True,
        needs=_SEVERAL,
    ),
    Drill(
        "power-off-worker",
        "a worker host loses its power in the middle of a task",
        _power_off_worker,
        {"rerun": Limit(10, 12), "wait": Limit(10, 12), "publish": Limit(1, 3), "execution": Limit(1, 3)},
        hold=14,
        holds=True,
        control=True,
        needs=_SEVERAL,
    ),
    Drill(
        "freeze-worker",
        "a worker stops in the middle of a task, and goes on when others have done its work",
        _freeze_worker,
        {"rerun": Limit(12, 15), "publish": Limit(1, 3), "execution": Limit(1, 3)},
        hold=18,
        holds=True,
        needs=_SEVERAL,
    ),
    Drill(
        "stop-database",
        "the database is away for 30 s",
        _stop_database,
        {"publish": Limit(1, 3), "execution": Limit(40, 50)},
        hold=30,
        bites={"execution": 25.0},
    ),
    Drill(
        "kill-proxy",
        "the proxy of a worker host is killed",
        _kill_proxy,
        {"publish": Limit(1, 3), "host": Limit(3, 6)},
    ),
    Drill(
        "poison-task",
        "a task kills its process at every attempt",
        _poison,
        {"publish": Limit(1, 3), "host": Limit(5, 8)},
        settle=20,
        dead="delivery_limit",
        needs=_SEVERAL,
    ),
    Drill(
        "long-task",
        "a task takes longer than the broker waits for its acknowledgement",
        _hog,
        {"publish": Limit(1, 3), "host": Limit(6, 10), "rerun": Limit(70, 75)},
        hold=75,
        bites={"rerun": 5.0},
    ),
)

# A picture of every kind of trouble in a few minutes; ./lab test runs these.
SHORT = (
    "kill-broker-leader",
    "freeze-broker-leader",
    "partition-leader",
    "kill-pool-child",
    "power-off-worker",
    "poison-task",
)


def find(name: str) -> Drill:
    """The drill of that name; raises UsageError when there is none."""
    for drill in DRILLS:
        if drill.name == name:
            return drill
    raise UsageError(f"There is no drill {name!r}; ./lab drill --list shows them.")
