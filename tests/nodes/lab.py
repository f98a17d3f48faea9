"""The lab for the checks: the nodes of the inventory and their reports.

The programs in on_node/ run on the nodes and print their reports as JSON. When a test needs the first report,
all programs run on all nodes at the same time. The tests themselves do not connect to the nodes, so further
tests take no more time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import testinfra
import yaml
from testinfra.backend.base import BaseBackend
from testinfra.host import Host
from testinfra.utils.ansible_runner import AnsibleRunner

Facts = dict[str, Any]

GROUPS = ("brokers", "workers", "gateways", "databases", "monitors")
CLIENTS = ("workers", "gateways", "monitors")
SSH = 22
# Only brokers may connect: RabbitMQ's commands listen there while they run, and a stream for its copies.
AT_TIMES = {*range(35672, 35683), *range(6000, 6501)}

# Ports that each group serves: port -> groups whose hosts may connect; "all" means every address. All hosts
# serve the ports of the group "all". Metrics are served only in a lab with a monitor.
SERVED: Mapping[str, Mapping[int, Sequence[str]]] = {
    "all": {9100: ("monitors",)},
    "brokers": {
        5671: GROUPS,
        5670: ("brokers", *CLIENTS),
        4369: ("brokers",),
        25672: ("brokers",),
        15671: ("gateways", "monitors"),
        15691: ("monitors",),
    },
    "workers": {8405: ("monitors",)},
    "databases": {5432: CLIENTS, 9187: ("monitors",)},
    "gateways": {443: ("all",), 8405: ("monitors",), 9464: ("monitors",)},
    "monitors": {8405: ("monitors",), 5555: ("gateways", "monitors"), 9090: ("gateways", "monitors")},
}
METRICS = (5555, 8405, 9090, 9100, 9187, 9464)
# Ports that no host may serve: HTTP, AMQP, management API and metrics without TLS.
NEVER_SERVED = (80, 5672, 15672, 15692)
# Ports on which TLS begins at once, so that a client can read the certificate.
TLS_PORTS = (5670, 5671, 15671, 443, 15691, *METRICS)

RECENT_TICK_S = 40  # four times the period of beat

ON_NODE = Path(__file__).parent / "on_node"
SYSTEM_PYTHON = "/usr/bin/python3"
APPLICATION_PYTHON = "/opt/mosaic/venv/bin/python"
DECLARED = Path(__file__).resolve().parents[2] / "playbooks" / "group_vars" / "all.yml"


@dataclass(frozen=True)
class Node:
    """One host of the inventory."""

    name: str
    groups: frozenset[str]
    variables: Mapping[str, Any]
    host: Host

    @property
    def address(self) -> str:
        """Its address on the lab's network."""
        return str(self.variables["lab_address"])

    @property
    def patience(self) -> float:
        """Factor for time limits on this node: lab_patience of the inventory, 1 by default."""
        return float(self.variables.get("lab_patience", 1))

    def ask(self, program: str, question: Facts, python: str = SYSTEM_PYTHON) -> Facts:
        """Run a program of on_node/ on this node; raises AssertionError with its stderr when it fails."""
        source = (ON_NODE / f"{program}.py").read_text(encoding="utf-8")
        question = {**question, "patience": self.patience}
        try:
            done = self.host.run("%s -c %s %s", python, source, json.dumps(question))
        except RuntimeError as error:  # from testinfra; its message contains the whole program
            stderr = getattr(error.args[0], "stderr", "") if error.args else ""
            raise AssertionError(f"{self.name} cannot be reached: {stderr.strip() or 'no answer'}") from None
        assert done.rc == 0, (
            f"{program}.py on {self.name} ended with {done.rc}: {done.stderr.strip()[-1500:]}"
        )
        answer: Facts = json.loads(done.stdout)
        return {**answer, "asked_at": time.time()}


# testinfra asks a host for its encoding by the command that it could not encode, which never ends if the path
# of a key is not ASCII. All nodes use UTF-8.
BaseBackend.get_encoding = lambda _: "UTF-8"


class Lab:
    """All nodes of an inventory."""

    def __init__(self, inventory: str | None) -> None:
        self._inventory = inventory
        self._runner = AnsibleRunner.get_runner(inventory)

    @cached_property
    def nodes(self) -> dict[str, Node]:
        """Every node by its name."""
        suffix = f"?ansible_inventory={self._inventory}" if self._inventory else ""
        return {
            name: Node(
                name,
                frozenset(group for group in GROUPS if name in self._runner.get_hosts(group)),
                self._runner.get_variables(name),
                testinfra.get_host(f"ansible://{name}{suffix}"),
            )
            for name in self._runner.get_hosts("all")
        }

    def group(self, *names: str) -> list[str]:
        """Hosts of these groups, sorted; all hosts for "all"."""
        return sorted(name for name, node in self.nodes.items() if "all" in names or node.groups & set(names))

    @cached_property
    def applications(self) -> list[Any]:
        """Every application of the lab: those of playbooks/group_vars, and what the inventory adds."""
        variables = next(iter(self.nodes.values())).variables
        return [*declared("lab_applications"), *variables.get("lab_added_applications", [])]

    @property
    def added(self) -> list[str]:
        """Names of the applications that the role celery_app installs."""
        return [application["name"] for application in self.applications if "role" not in application]

    @property
    def patience(self) -> float:
        """Factor for time limits of the slowest node."""
        return max(node.patience for node in self.nodes.values())

    @property
    def addresses(self) -> dict[str, str]:
        """lab_address of every host."""
        return {name: node.address for name, node in self.nodes.items()}

    def served_by(self, name: str) -> dict[int, Sequence[str]]:
        """Ports that a host serves, each with the groups whose hosts may reach it."""
        groups = ["all", *sorted(self.nodes[name].groups)]
        measured = bool(self.group("monitors"))
        return {
            port: sources
            for group in groups
            for port, sources in SERVED.get(group, {}).items()
            if measured or port not in METRICS
        }

    def reachable_from(self, name: str) -> dict[str, set[int]]:
        """Ports of each host to which this one may connect."""
        return {
            other: {
                port
                for port, sources in self.served_by(other).items()
                if name in self.group(*sources) or other == name
            }
            for other in self.nodes
        }

    def questions(self, name: str) -> dict[str, tuple[Facts, str]]:
        """Programs to run on a node: program of on_node/ -> its argument and interpreter."""
        groups = self.nodes[name].groups
        reach = self.reachable_from(name)
        ports = sorted({SSH, *NEVER_SERVED, *(port for served in SERVED.values() for port in served)})
        secured = [(other, port) for other, ports in reach.items() for port in TLS_PORTS if port in ports]
        asked: dict[str, tuple[Facts, str]] = {
            "every": (
                {
                    "addresses": self.addresses,
                    "ports": ports,
                    "tls": secured,
                    "logs": bool(self.group("gateways")),  # they declare the exchange
                },
                SYSTEM_PYTHON,
            )
        }
        if "brokers" in groups:
            first, *_ = brokers = self.group("brokers")
            peers = [other for other in brokers if other != name]
            asked["broker"] = ({"peers": peers, "definitions": name == first}, SYSTEM_PYTHON)
        if groups & {"workers", "gateways"}:  # a monitor has only the proxy
            units = ["haproxy", "*-worker@*", "mosaic-log-store"]
            question: Facts = {"units": units, "applications": self.added}
            asked["client"] = (question, APPLICATION_PYTHON)
        if "gateways" in groups:
            first = self.group("gateways")[0]
            metrics = ["mosaic-metrics"] if self.group("monitors") else []
            question = {
                "name": name,
                "units": ["nginx", "mosaic-gateway", *(["mosaic-beat"] if name == first else []), *metrics],
                "proxied": ["rabbitmq", *(["flower", "prometheus"] if metrics else [])],
                "hosts": list(self.nodes),
                "recent_s": RECENT_TICK_S * self.patience,
                "probe": self.group("workers") if name == first else [],
            }
            asked["gateway"] = (question, SYSTEM_PYTHON)
        if "monitors" in groups:
            question = {
                "name": name,
                "units": ["haproxy", "lab-flower", "prometheus"],
                "hosts": list(self.nodes),
                "gateways": self.group("gateways"),
                "workers": self.group("workers"),
            }
            asked["monitor"] = (question, SYSTEM_PYTHON)
        if "databases" in groups:
            asked["database"] = ({"used": bool(self.group("gateways"))}, SYSTEM_PYTHON)
        return asked


class Answers:
    """Reports of all nodes; the first call of `of` starts all programs."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._answers: dict[tuple[str, str], Future[Facts]] = {}

    def of(self, name: str, program: str) -> Facts:
        """Report of one program on one node; raises the error of the program."""
        if not self._answers:
            self._ask_all()
        return self._answers[name, program].result()

    def _ask_all(self) -> None:
        pool = ThreadPoolExecutor(max_workers=max(len(self._lab.nodes), 1))
        for name, node in self._lab.nodes.items():
            for program, (question, python) in self._lab.questions(name).items():
                self._answers[name, program] = pool.submit(node.ask, program, question, python)
        pool.shutdown(wait=False)


def ask_now(lab: Lab, name: str, program: str) -> Facts:
    """A new report, for tests that changed something."""
    question, python = lab.questions(name)[program]
    return lab.nodes[name].ask(program, question, python)


def declared(name: str) -> Any:
    """A variable of playbooks/group_vars/all.yml, with its Jinja expressions not evaluated."""
    return yaml.safe_load(DECLARED.read_text(encoding="utf-8"))[name]


def eventually(what: str, seconds: float, check: Callable[[], str]) -> float:
    """Wait until check() returns no complaint (""); returns the seconds that it took."""
    started = time.monotonic()
    while True:
        try:
            complaint = check()
        except (AssertionError, ValueError, KeyError, RuntimeError) as error:
            complaint = str(error)
        waited = time.monotonic() - started
        if not complaint:
            return waited
        assert waited < seconds, f"{what}: not within {seconds:.0f} s: {complaint}"
        time.sleep(0.5)
