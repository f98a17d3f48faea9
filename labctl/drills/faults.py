"""Faults at hosts of the lab: a playbook of playbooks/drills, its hosts and its variables."""

from collections.abc import Callable

from labctl.drills.definition import Fault, MakeFault, SingleTask
from labctl.drills.targets import Blocked, Targets, halves, isolate, majorities_ring

BROKER = "rabbitmq-server.service"
PROXY = "haproxy.service"
DATABASE = "postgresql.service"


def at_leader(fault: Callable[[str, str], Fault]) -> MakeFault:
    """The fault at the leader; `fault` gets the host's name and role."""
    return lambda targets: fault(targets.leader, "leader")


def at_follower(fault: Callable[[str, str], Fault]) -> MakeFault:
    """The fault at a follower."""
    return lambda targets: fault(targets.follower(), "follower")


def kill_broker(name: str, part: str) -> Fault:
    return Fault(f"kill {name} ({part})", "kill.yml", (name,), {"drill_unit": BROKER})


def freeze_broker(name: str, part: str) -> Fault:
    return Fault(f"freeze {name} ({part})", "freeze.yml", (name,), {"drill_unit": BROKER}, heals=True)


def power_off(name: str, part: str) -> Fault:
    return Fault(f"power off {name} ({part})", power=name, heals=True)


def _partition(what: str, blocked: Callable[[Targets], Blocked]) -> MakeFault:
    def fault(targets: Targets) -> Fault:
        cut = blocked(targets)
        links = "; ".join(f"{name} <- {' '.join(others)}" for name, others in sorted(cut.items()))
        variables = {"drill_blocked": cut}
        return Fault(f"partition {what}: {links}", "partition.yml", tuple(sorted(cut)), variables, heals=True)

    return fault


partition_leader = _partition("leader", lambda targets: isolate(targets.brokers, targets.leader))
partition_random_node = _partition("node", lambda targets: isolate(targets.brokers, targets.broker()))
partition_halves = _partition("halves", lambda targets: halves(targets.brokers))
partition_random_halves = _partition("halves", lambda targets: halves(targets.shuffled()))
partition_majorities_ring = _partition("ring", lambda targets: majorities_ring(targets.shuffled()))


def slow_network(targets: Targets) -> Fault:
    variables = {"drill_delay_ms": 100, "drill_loss_percent": 5, "drill_rate_kbit": 2000}
    return Fault("slow and lossy links", "slow_network.yml", tuple(targets.brokers), variables, heals=True)


def alarm(resource: str) -> MakeFault:
    """An alarm of "disk" or "memory" at a random broker."""

    def fault(targets: Targets) -> Fault:
        name = targets.broker()
        variables = {"drill_resource": resource}
        return Fault(f"{resource} alarm on {name}", "alarm.yml", (name,), variables, heals=True)

    return fault


def restart_all(targets: Targets) -> Fault:
    variables = {"drill_unit": BROKER}
    return Fault("restart all brokers at once", "restart_at_once.yml", tuple(targets.brokers), variables)


def rolling_restart(targets: Targets) -> Fault:
    return Fault("restart the brokers one after another", "rolling_restart.yml", tuple(targets.brokers))


def kill_child(targets: Targets) -> Fault:
    held = targets.held
    what = f"kill process {held.pid} of {held.host}"
    return Fault(what, "kill.yml", (held.host,), {"drill_pid": held.pid})


def kill_worker(targets: Targets) -> Fault:
    name = targets.held.host
    variables = {"drill_unit": targets.worker_unit}
    return Fault(f"kill the worker of {name}", "kill.yml", (name,), variables, hit=(name,))


def power_off_worker(targets: Targets) -> Fault:
    name = targets.held.host
    return Fault(f"power off {name}", power=name, heals=True, hit=(name,))


def freeze_worker(targets: Targets) -> Fault:
    name = targets.held.host
    variables = {"drill_unit": targets.worker_unit}
    return Fault(f"freeze the worker of {name}", "freeze.yml", (name,), variables, heals=True, hit=(name,))


def stop_database(targets: Targets) -> Fault:
    hosts = tuple(targets.groups["databases"])
    return Fault("stop the database", "stop.yml", hosts, {"drill_unit": DATABASE}, heals=True)


def kill_proxy(targets: Targets) -> Fault:
    name = targets.worker()
    return Fault(f"kill the proxy of {name}", "kill.yml", (name,), {"drill_unit": PROXY})


def poison(_scene: Targets) -> Fault:
    return Fault("publish a poison task", publish=SingleTask("poison"))


def hog(targets: Targets) -> Fault:
    return Fault(
        "publish a task longer than the consumer timeout",
        "consumer_timeout.yml",
        (targets.brokers[0],),
        {"drill_queue": targets.queue, "drill_timeout_ms": 5000},
        heals=True,
        publish=SingleTask("hog", 150.0),
    )
