"""Waiting until a lab is whole again, and doing to a node what breaks it, on any substrate."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from tests.nodes.lab import Lab, Node, ask_now, eventually

WHOLE_S = 90.0
RESTART_S = 180.0


def wait_until_whole(lab: Lab, seconds: float = WHOLE_S) -> float:
    """Wait until every node runs, the cluster is complete and every worker consumes; returns the seconds."""
    return eventually("the lab is whole", seconds * lab.patience, lambda: next(complaints(lab), ""))


def complaints(lab: Lab) -> Iterator[str]:
    """What is not yet as it should be; asked in steps, since a later one needs the earlier."""
    with ThreadPoolExecutor(max_workers=len(lab.nodes)) as pool:
        yield from filter(None, pool.map(node_complaint, lab.nodes.values()))
        yield from filter(None, pool.map(lambda name: broker_complaint(lab, name), lab.group("brokers")))
        clients = lab.group("workers", "gateways")
        yield from filter(None, pool.map(lambda name: client_complaint(lab, name), clients))


def node_complaint(node: Node) -> str:
    """What systemd says, unless everything runs."""
    state = node.host.run("systemctl is-system-running").stdout.strip()
    return "" if state == "running" else f"{node.name} is {state or 'not reachable'}"


def broker_complaint(lab: Lab, name: str) -> str:
    """Members that do not run, queues with members that are away, workers that do not consume."""
    seen = lab.nodes[name].ask("broker", {"peers": [], "definitions": False})
    running = [member for member in seen["nodes"] if member.get("running")]
    if len(running) < len(lab.group("brokers")):
        return f"{name} sees {len(running)} brokers running"
    away = [
        queue["name"]
        for queue in seen["queues"]
        if queue["type"] == "quorum" and len(queue["online"]) < min(len(running), 5)
    ]
    if away:
        return f"{name} sees members away of {', '.join(away)}"
    consumers = {(consumer["queue"], consumer["peer"]) for consumer in seen["consumers"]}
    for worker in lab.group("workers"):
        if (f"mosaic.host.{worker}", lab.addresses[worker]) not in consumers:
            return f"{name} sees no consumer of mosaic.host.{worker}"
    return ""


def client_complaint(lab: Lab, name: str) -> str:
    """Units that are not active or not ready, brokers that the proxy does not find."""
    seen = ask_now(lab, name, "client")
    for unit, state in seen["units"].items():
        if state["ActiveState"] != "active":
            return f"{unit} of {name} is {state['ActiveState']}"
    down = [broker for broker, state in seen["proxy"].items() if not state.startswith("UP")]
    return f"the proxy of {name} does not find {', '.join(down)}" if down else ""


def restart(node: Node) -> None:
    """Restart the whole host and wait until systemd has started everything there."""
    before = boot_of(node)
    if str(node.variables.get("ansible_connection", "")).endswith("docker"):
        container = str(node.variables["ansible_host"])
        subprocess.run(["docker", "restart", "--time", "30", container], check=True, capture_output=True)
    else:
        with contextlib.suppress(RuntimeError):  # the connection may end before the command does
            node.host.run("systemctl reboot")

    def complaint() -> str:
        return "it has not gone down" if boot_of(node) == before else node_complaint(node)

    eventually(f"{node.name} is up again", RESTART_S * node.patience, complaint)


def boot_of(node: Node) -> str:
    """What differs after each boot: the kernel's boot and, in a container, when its first process started."""
    command = "cat /proc/sys/kernel/random/boot_id; cut -d' ' -f22 /proc/1/stat"
    done = node.host.run(command)
    assert done.rc == 0, done.stderr
    return str(done.stdout)


def verify(inventory: str | None) -> str:
    """Run all checks that break nothing, in a process of their own; returns what failed, or ""."""
    chosen = [f"--ansible-inventory={inventory}"] if inventory else []
    command = [sys.executable, "-m", "pytest", "tests/nodes", *chosen, "-m", "not disruptive", "-q"]
    done = subprocess.run([*command, "-p", "no:cacheprovider"], check=False, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout[-4000:] + done.stderr[-1000:]
