"""After the failure of a process or a host, it restarts without help and works."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest

import pytest

from tests.nodes.lab import Lab, Node, eventually
from tests.nodes.settle import RESTART_S, restart, verify, wait_until_healthy

pytestmark = pytest.mark.disruptive

BACK_S = 60.0
# Units of each group that are killed; a pattern matches every loaded instance.
KILLED = {
    "brokers": ["rabbitmq-server.service", "lab-broker-check.service", "lab-log-shipper.service"],
    "databases": ["postgresql@*.service", "prometheus-postgres-exporter.service"],
    "gateways": [
        "mosaic-gateway.service",
        "mosaic-beat.service",
        "mosaic-metrics.service",
        "nginx.service",
    ],
    "monitors": ["prometheus.service", "lab-flower.service", "prometheus-node-exporter.service"],
    "workers": ["mosaic-worker@*.service", "mosaic-log-store.service", "lab-log-shipper.service"],
}


def running(node: Node, patterns: list[str]) -> dict[str, str]:
    """Main process of each active unit that matches."""
    command = "systemctl show --property=Id,ActiveState,MainPID -- " + " ".join(["%s"] * len(patterns))
    blocks = node.host.check_output(command, *patterns).split("\n\n")
    shown = [dict(line.split("=", 1) for line in block.splitlines()) for block in blocks]
    return {block["Id"]: block["MainPID"] for block in shown if block.get("ActiveState") == "active"}


def kill(node: Node, units: dict[str, str]) -> None:
    """Send SIGKILL to all processes of these units."""
    command = "systemctl kill --signal=KILL " + " ".join(["%s"] * len(units))
    node.host.check_output(command, *units)


def rounds(lab: Lab) -> list[list[Node]]:
    """Every node once, in rounds of at most one node per group: a majority of the brokers always runs."""
    columns = zip_longest(*(lab.group(group) for group in KILLED))
    return [[lab.nodes[name] for name in dict.fromkeys(filter(None, column))] for column in columns]


def test_killed_units_restart(settled: Lab) -> None:
    """They run with new processes, and the lab is healthy. The test takes one host per group at a time.

    A broker that was killed runs the same members of quorum queues as before.
    """
    brokers = [settled.nodes[name] for name in settled.group("brokers")]
    held = {node.name: members(node) for node in brokers}
    assert all(held.values())
    for nodes in rounds(settled):
        before = {}
        for node in nodes:
            patterns = [unit for group in node.groups for unit in KILLED.get(group, [])]
            before[node.name] = running(node, patterns)
            assert before[node.name], f"no unit of {patterns} runs on {node.name}"
        for node in nodes:
            kill(node, before[node.name])
        for node in nodes:
            units = before[node.name]

            def complaint(node: Node = node, units: dict[str, str] = units) -> str:
                now = running(node, list(units))
                return ", ".join(unit for unit, process in units.items() if now.get(unit) in (None, process))

            eventually(f"killed units of {node.name} run again", BACK_S * node.patience, complaint)
        wait_until_healthy(settled)
    assert {node.name: members(node) for node in brokers} == held


def test_applications_survive_the_failure_of_their_proxies(settled: Lab) -> None:
    """Killing every HAProxy closes every session; the clients reconnect without a restart."""
    patterns = ["mosaic-*.service"]
    clients = [settled.nodes[name] for name in settled.group("workers", "gateways")]
    before = {node.name: running(node, patterns) for node in clients}
    for node in clients:
        kill(node, running(node, ["haproxy.service"]))
    wait_until_healthy(settled)
    assert {node.name: running(node, patterns) for node in clients} == before


def test_a_member_that_does_not_follow_is_replaced(settled: Lab) -> None:
    """lab-quorum-watch, which a timer runs, replaces a member of a queue that does not follow its leader."""
    brokers = settled.group("brokers")
    if len(brokers) < 3:
        pytest.skip("with one broker, a queue has no other member to copy from")
    node = settled.nodes[brokers[-1]]
    queue = min(members(node))
    where = f'ra:stop_server(quorum_queues, {{list_to_atom("mosaic_{queue}"), node()}}).'
    node.host.check_output("rabbitmqctl --quiet eval %s", where)
    assert queue in node.host.check_output("rabbitmq-queues check_if_node_is_quorum_critical 2>&1 || true")
    said = node.host.check_output("lab-quorum-watch 0 /run/lab-quorum-watch.test")
    assert f"{queue} in mosaic" in said
    wait_until_healthy(settled)
    assert queue in members(node)


def test_hosts_recover_after_a_restart(settled: Lab, request: pytest.FixtureRequest) -> None:
    """The first host of every group restarts at the same time; all checks of all nodes pass afterwards."""
    nodes = rounds(settled)[0]
    with ThreadPoolExecutor(max_workers=len(nodes)) as pool:
        list(pool.map(restart, nodes))
    wait_until_healthy(settled, RESTART_S)
    failed = verify(request.config.getoption("ansible_inventory"))
    assert not failed, failed


def members(node: Node) -> set[str]:
    """Quorum queues of the application that have a running member on this broker."""
    registered = "[Name || {Name, _} <- ra_directory:list_registered(quorum_queues), is_pid(whereis(Name))]."
    return set(
        re.findall(r"\bmosaic_([\w.-]+)", node.host.check_output("rabbitmqctl --quiet eval %s", registered))
    )
