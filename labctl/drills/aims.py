"""Faults, aimed at the hosts of a scene: which playbook of playbooks/drills, which hosts, which variables."""

from __future__ import annotations

from collections.abc import Callable

from labctl.drills.model import Aim, Fault, Single
from labctl.drills.scene import Blocked, Scene, halves, isolate, majorities_ring

BROKER = "rabbitmq-server.service"
PROXY = "haproxy.service"
DATABASE = "postgresql.service"


def at_leader(fault: Callable[[str, str], Fault]) -> Aim:
    """The fault at the broker that leads; it is given the host's name and the host's part."""
    return lambda scene: fault(scene.leader, "leader")


def at_follower(fault: Callable[[str, str], Fault]) -> Aim:
    """The fault at a broker that follows."""
    return lambda scene: fault(scene.follower(), "follower")


def kill_broker(name: str, part: str) -> Fault:
    return Fault(f"kill {name} ({part})", "kill.yml", (name,), {"drill_unit": BROKER})


def freeze_broker(name: str, part: str) -> Fault:
    return Fault(f"freeze {name} ({part})", "freeze.yml", (name,), {"drill_unit": BROKER}, heals=True)


def power_off(name: str, part: str) -> Fault:
    return Fault(f"power off {name} ({part})", power=name, heals=True)


def partition_leader(scene: Scene) -> Fault:
    return _partition("leader", isolate(scene.brokers, scene.leader))


def partition_random_node(scene: Scene) -> Fault:
    return _partition("node", isolate(scene.brokers, scene.broker()))


def partition_halves(scene: Scene) -> Fault:
    return _partition("halves", halves(scene.brokers))


def partition_random_halves(scene: Scene) -> Fault:
    return _partition("halves", halves(scene.shuffled()))


def partition_majorities_ring(scene: Scene) -> Fault:
    return _partition("ring", majorities_ring(scene.shuffled()))


def _partition(what: str, blocked: Blocked) -> Fault:
    cut = "; ".join(f"{name} <- {' '.join(others)}" for name, others in sorted(blocked.items()))
    variables = {"drill_blocked": blocked}
    return Fault(f"partition {what}: {cut}", "partition.yml", tuple(sorted(blocked)), variables, heals=True)


def slow_network(scene: Scene) -> Fault:
    variables = {"drill_delay_ms": 100, "drill_loss_percent": 5, "drill_rate_kbit": 2000}
    return Fault("slow and lossy links", "slow_network.yml", tuple(scene.brokers), variables, heals=True)


def alarm(resource: str) -> Aim:
    """An alarm of "disk" or "memory" at some broker."""

    def aim(scene: Scene) -> Fault:
        name = scene.broker()
        variables = {"drill_resource": resource}
        return Fault(f"{resource} alarm on {name}", "alarm.yml", (name,), variables, heals=True)

    return aim


def restart_all(scene: Scene) -> Fault:
    variables = {"drill_unit": BROKER}
    return Fault("restart all brokers at once", "restart_at_once.yml", tuple(scene.brokers), variables)


def rolling_restart(scene: Scene) -> Fault:
    return Fault("restart the brokers one after another", "rolling_restart.yml", tuple(scene.brokers))


def kill_child(scene: Scene) -> Fault:
    held = scene.held
    what = f"kill process {held.pid} of {held.host}"
    return Fault(what, "kill.yml", (held.host,), {"drill_pid": held.pid})


def kill_worker(scene: Scene) -> Fault:
    name = scene.held.host
    variables = {"drill_unit": scene.worker_unit}
    return Fault(f"kill the worker of {name}", "kill.yml", (name,), variables, hit=(name,))


def power_off_worker(scene: Scene) -> Fault:
    name = scene.held.host
    return Fault(f"power off {name}", power=name, heals=True, hit=(name,))


def freeze_worker(scene: Scene) -> Fault:
    name = scene.held.host
    variables = {"drill_unit": scene.worker_unit}
    return Fault(f"freeze the worker of {name}", "freeze.yml", (name,), variables, heals=True, hit=(name,))


def stop_database(scene: Scene) -> Fault:
    hosts = tuple(scene.groups["databases"])
    return Fault("stop the database", "stop.yml", hosts, {"drill_unit": DATABASE}, heals=True)


def kill_proxy(scene: Scene) -> Fault:
    name = scene.worker()
    return Fault(f"kill the proxy of {name}", "kill.yml", (name,), {"drill_unit": PROXY})


def poison(_scene: Scene) -> Fault:
    return Fault("publish a poison task", publish=Single("poison"))


def hog(scene: Scene) -> Fault:
    return Fault(
        "publish a task longer than the consumer timeout",
        "consumer_timeout.yml",
        (scene.brokers[0],),
        {"drill_queue": scene.queue, "drill_timeout_ms": 5000},
        heals=True,
        publish=Single("hog", 150.0),
    )
