"""The drills: what each breaks, under which load, and what must be true afterwards."""

from collections.abc import Mapping
from dataclasses import replace

from labctl.drills import faults
from labctl.drills.definition import Drill, Limit, MakeFault, Series
from labctl.drills.faults import at_follower, at_leader
from labctl.errors import UsageError

_CLUSTER = {"brokers": 3}
_SEVERAL = {"workers": 2}
_KILLED = {"publish": Limit(1.0, 3.0), "execution": Limit(1.0, 3.0)}
_SILENT = {"publish": Limit(2.5, 6.0), "execution": Limit(3.0, 6.0), "host": Limit(4.0, 6.0)}
_ALARM = {"publish": Limit(22, 26), "execution": Limit(22, 26)}
_NO_MAJORITY = {"publish": Limit(30, 40), "execution": Limit(30, 40)}
_PUBLISHING = {"publish": Limit(1, 3)}
_ONE_WORKER_LESS = {**_PUBLISHING, "execution": Limit(1, 3)}


def _silent(name: str, breaks: str, fault: MakeFault) -> Drill:
    """A broker does not answer for 10 s, and its connections stay open."""
    return Drill(name, breaks, fault, _SILENT, duration=10, needs=_CLUSTER)


DRILLS = (
    Drill(
        "kill-broker-leader",
        "the broker that leads the queue is killed, and started again by systemd",
        at_leader(faults.kill_broker),
        _KILLED,
        needs=_CLUSTER,
    ),
    Drill(
        "kill-broker-follower",
        "a broker that follows is killed",
        at_follower(faults.kill_broker),
        _KILLED,
        needs=_CLUSTER,
    ),
    _silent(
        "power-off-broker-leader",
        "the leader's host loses its power; its peers get no message",
        at_leader(faults.power_off),
    ),
    _silent("power-off-broker-follower", "a follower's host loses its power", at_follower(faults.power_off)),
    _silent(
        "freeze-broker-leader",
        "the leader answers nothing, and its connections stay open (SIGSTOP)",
        at_leader(faults.freeze_broker),
    ),
    _silent("freeze-broker-follower", "a follower answers nothing", at_follower(faults.freeze_broker)),
    _silent(
        "partition-leader",
        "the leader loses its peers, not its clients",
        faults.partition_leader,
    ),
    _silent(
        "partition-random-node",
        "a random broker loses its peers (Jepsen's partition-random-node)",
        faults.partition_random_node,
    ),
    _silent(
        "partition-halves",
        "the first half of the brokers is cut off from the second (partition-halves)",
        faults.partition_halves,
    ),
    _silent(
        "partition-random-halves",
        "two random halves (partition-random-halves)",
        faults.partition_random_halves,
    ),
    Drill(
        "partition-majorities-ring",
        "each broker hears a majority, no two the same (partition-majorities-ring); of three, no link works",
        faults.partition_majorities_ring,
        _NO_MAJORITY,
        duration=12,
        settle=25,
        at_least={"publish": 8.0},
        needs=_CLUSTER,
    ),
    Drill(
        "slow-network",
        "packets between brokers come late, and some get lost",
        faults.slow_network,
        {"publish": Limit(2.5, 6), "host": Limit(3, 6)},
        duration=20,
        needs=_CLUSTER,
    ),
    Drill(
        "disk-alarm",
        "a broker runs out of disk and the cluster blocks publishers",
        faults.alarm("disk"),
        _ALARM,
        duration=20,
        at_least={"publish": 4.0},
    ),
    Drill(
        "memory-alarm",
        "a broker runs out of memory and the cluster blocks publishers",
        faults.alarm("memory"),
        _ALARM,
        duration=20,
        at_least={"publish": 4.0},
    ),
    Drill(
        "restart-all-brokers",
        "all brokers restart at the same time",
        faults.restart_all,
        _NO_MAJORITY,
        settle=30,
    ),
    Drill(
        "rolling-restart",
        "the brokers restart one after another, as after a change of their configuration",
        faults.rolling_restart,
        _SILENT,
        needs=_CLUSTER,
    ),
    Drill(
        "kill-pool-child",
        "the process that runs a task is killed during the task",
        faults.kill_child,
        {"rerun": Limit(2, 4), **_PUBLISHING},
        interrupts=True,
    ),
    Drill(
        "kill-worker",
        "a worker is killed with all its processes during a task",
        faults.kill_worker,
        {"rerun": Limit(2, 4), **_ONE_WORKER_LESS},
        interrupts=True,
        needs=_SEVERAL,
    ),
    Drill(
        "power-off-worker",
        "a worker host loses its power during a task",
        faults.power_off_worker,
        {"rerun": Limit(10, 12), "wait": Limit(10, 12), **_ONE_WORKER_LESS},
        duration=14,
        interrupts=True,
        needs=_SEVERAL,
    ),
    Drill(
        "freeze-worker",
        "a worker is frozen during a task, and continues when others have done its work",
        faults.freeze_worker,
        {"rerun": Limit(12, 15), **_ONE_WORKER_LESS},
        duration=18,
        interrupts=True,
        needs=_SEVERAL,
    ),
    Drill(
        "stop-database",
        "the database is unavailable for 30 s",
        faults.stop_database,
        {**_PUBLISHING, "execution": Limit(40, 50)},
        duration=30,
        at_least={"execution": 25.0},
    ),
    Drill(
        "kill-proxy",
        "the proxy of a worker host is killed",
        faults.kill_proxy,
        {**_PUBLISHING, "host": Limit(3, 6)},
    ),
    Drill(
        "poison-task",
        "a task kills its process at every attempt",
        faults.poison,
        {**_PUBLISHING, "host": Limit(5, 8)},
        settle=20,
        dead="delivery_limit",
        own=False,
        needs=_SEVERAL,
    ),
    Drill(
        "long-task",
        "a task takes longer than the broker waits for its acknowledgement",
        faults.hog,
        {**_PUBLISHING, "host": Limit(6, 10), "rerun": Limit(70, 75)},
        duration=75,
        at_least={"rerun": 5.0},
        own=False,
    ),
)

# Every kind of trouble in a few minutes, as `jobs` has several faults in it; ./lab test runs these.
SHORT = ("kill-broker-leader", "freeze-broker-leader", "poison-task", "jobs")


def find(name: str) -> Drill:
    """The drill of that name; raises UsageError when there is none."""
    for drill in DRILLS:
        if drill.name == name:
            return drill
    raise UsageError(f"There is no drill {name!r}; ./lab drill --list shows them.")


def _under_jobs(
    name: str, duration: float, limits: Mapping[str, float], at_least: Mapping[str, float] | None = None
) -> Drill:
    """A drill under a load of jobs; `limits` in seconds, above the 2 s between two submissions."""
    return replace(
        find(name),
        duration=duration,
        settle=1,
        limits={metric: Limit(seconds, seconds) for metric, seconds in limits.items()},
        at_least=at_least or {},
    )


JOBS = Series(
    "jobs",
    (
        _under_jobs("kill-broker-leader", 0, {"publish": 6, "execution": 6}),
        _under_jobs("freeze-broker-leader", 10, {"publish": 9, "execution": 9}),
        _under_jobs("kill-pool-child", 0, {"publish": 5, "rerun": 8}),
        _under_jobs(
            "stop-database", 15, {"publish": 45, "execution": 45}, {"publish": 10.0, "execution": 10.0}
        ),
    ),
    jobs=True,
    breaks="a broker, a pool process and the database fail while renders and scales are submitted to the API",
    expects="every accepted job ends done, every part once; every refusal is a 429 or 503 with a sentence",
)
