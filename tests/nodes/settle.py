"""Wait until a lab is healthy, and restart its nodes, on any substrate."""

from __future__ import annotations

import contextlib
import subprocess
import sys

from labctl.status import report
from tests.nodes.lab import GROUPS, SYSTEM_PYTHON, Lab, Node, eventually

HEALTHY_S = 90.0
RESTART_S = 180.0


def wait_until_healthy(lab: Lab, seconds: float = HEALTHY_S) -> float:
    """Wait until `./lab status` would report a healthy lab; returns the seconds that it took."""
    source = report.PROGRAM.read_text(encoding="utf-8")
    groups = {group: lab.group(group) for group in GROUPS}

    def ask(host: str, own: list[str]) -> str:
        command = "%s -c %s" + " %s" * len(own)
        with contextlib.suppress(RuntimeError):  # from testinfra, when the host cannot be reached
            return str(lab.nodes[host].host.run(command, SYSTEM_PYTHON, source, *own).stdout)
        return ""

    def complaint() -> str:
        return " ".join(problem["sentence"] for problem in report.read(groups, {}, ask)["problems"])

    return eventually("the lab is healthy", seconds * lab.patience, complaint)


def restart(node: Node) -> None:
    """Restart the host, and wait until it has stopped and answers again."""
    before = boot_of(node)
    if str(node.variables.get("ansible_connection", "")).endswith("docker"):
        container = str(node.variables["ansible_host"])
        subprocess.run(["docker", "restart", "--time", "30", container], check=True, capture_output=True)
    else:
        with contextlib.suppress(RuntimeError):  # the connection may end before the command does
            node.host.run("systemctl reboot")

    def complaint() -> str:
        return "it has not restarted" if boot_of(node) == before else ""

    eventually(f"{node.name} is up again", RESTART_S * node.patience, complaint)


def boot_of(node: Node) -> str:
    """Identity of the current boot: the kernel's boot id and, for containers, the start time of process 1."""
    command = "cat /proc/sys/kernel/random/boot_id; cut -d' ' -f22 /proc/1/stat"
    done = node.host.run(command)
    assert done.rc == 0, done.stderr
    return str(done.stdout)


def verify(inventory: str | None) -> str:
    """Run all checks that break nothing, in a separate process; returns the output of failed ones, or ""."""
    chosen = [f"--ansible-inventory={inventory}"] if inventory else []
    command = [sys.executable, "-m", "pytest", "tests/nodes", *chosen, "-m", "not disruptive", "-q"]
    done = subprocess.run([*command, "-p", "no:cacheprovider"], check=False, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout[-4000:] + done.stderr[-1000:]
