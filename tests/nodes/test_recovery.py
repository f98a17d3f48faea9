"""After the failure of a process or a host, it restarts without help and works."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest

import pytest

from tests.nodes.lab import Lab, Node, ask_now, eventually
from tests.nodes.settle import RESTART_S, restart, verify, wait_until_healthy

pytestmark = pytest.mark.disruptive

BACK_S = 60.0
# Units of each group that are killed; a pattern matches every loaded instance.
KILLED = {
    "brokers": ["rabbitmq-server.service", "lab-broker-check.service"],
    "databases": ["postgresql@*.service", "prometheus-postgres-exporter.service"],
    "gateways": [
        "mosaic-gateway.service",
        "mosaic-beat.service",
        "mosaic-log-*.service",
        "mosaic-metrics.service",
        "nginx.service",
    ],
    "monitors": ["prometheus.service", "lab-flower.service", "prometheus-node-exporter.service"],
    "workers": ["mosaic-worker@*.service", "mosaic-log-*.service"],
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
    """They run with new processes, and the lab is healthy. The test takes one host per group at a time."""
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


def test_applications_survive_the_failure_of_their_proxies(settled: Lab) -> None:
    """Killing every HAProxy closes every session; the clients reconnect without a restart."""
    patterns = ["mosaic-*.service"]
    clients = [settled.nodes[name] for name in settled.group("workers", "gateways")]
    before = {node.name: running(node, patterns) for node in clients}
    for node in clients:
        kill(node, running(node, ["haproxy.service"]))
    wait_until_healthy(settled)
    assert {node.name: running(node, patterns) for node in clients} == before


def test_killed_broker_is_a_member_of_its_queues_again(settled: Lab) -> None:
    """A broker that was killed has a member of the same quorum queues as before."""
    node = settled.nodes[settled.group("brokers")[0]]
    held = {str(queue["name"]) for queue in members(settled, node)}
    assert held
    kill(node, running(node, KILLED["brokers"]))
    wait_until_healthy(settled)
    assert {str(queue["name"]) for queue in members(settled, node)} == held


def test_a_member_that_does_not_follow_is_replaced(settled: Lab) -> None:
    """lab-quorum-watch, which a timer runs, replaces a member of a queue that does not follow its leader."""
    brokers = settled.group("brokers")
    if len(brokers) < 3:
        pytest.skip("with one broker, a queue has no other member to copy from")
    node = settled.nodes[brokers[-1]]
    queue = next(str(queue["name"]) for queue in members(settled, node) if queue["type"] == "quorum")
    where = f'ra:stop_server(quorum_queues, {{list_to_atom("mosaic_{queue}"), node()}}).'
    node.host.check_output("rabbitmqctl --quiet eval %s", where)
    assert queue in node.host.check_output("rabbitmq-queues check_if_node_is_quorum_critical 2>&1 || true")
    said = node.host.check_output("lab-quorum-watch 0 /run/lab-quorum-watch.test")
    assert f"{queue} in mosaic" in said
    wait_until_healthy(settled)
    assert queue in {str(held["name"]) for held in members(settled, node)}


def test_hosts_recover_after_a_restart(settled: Lab, request: pytest.FixtureRequest) -> None:
    """The first host of every group restarts at the same time; all checks of all nodes pass afterwards."""
    nodes = rounds(settled)[0]
    with ThreadPoolExecutor(max_workers=len(nodes)) as pool:
        list(pool.map(restart, nodes))
    wait_until_healthy(settled, RESTART_S)
    failed = verify(request.config.getoption("ansible_inventory"))
    assert not failed, failed


def members(lab: Lab, node: Node) -> list[dict[str, object]]:
    """Quorum queues with an online member on the broker, as this broker reports."""
    seen = ask_now(lab, node.name, "broker")
    return [queue for queue in seen["queues"] if f"rabbit@{node.name}" in (queue.get("online") or [])]
