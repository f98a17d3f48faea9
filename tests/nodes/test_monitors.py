"""Monitors: every target of the inventory is up, the alerts are loaded, and their APIs change nothing.

test_every_host.py checks on every host that exporters are reachable for monitors only, as SERVED of
tests/nodes/lab.py declares.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.nodes.lab import METRICS, SERVED, Facts, Lab, Node

testinfra_hosts = ["ansible://monitors"]

ROOT = Path(__file__).resolve().parents[2]
RULES = (
    *sorted((ROOT / "roles" / "monitoring" / "files" / "rules").glob("*.yml")),
    ROOT / "app" / "alerts.yml",
)
CONSUMERS = "queue:workers:declared"
JOBS = {
    "node": ("all",),
    "rabbitmq": ("brokers",),
    "rabbitmq_queues": ("brokers",),
    "haproxy": ("workers", "gateways", "monitors"),
    "postgresql": ("databases",),
    "mosaic": ("gateways",),
    "flower": ("monitors",),
    "prometheus": ("monitors",),
}


def test_units_run(monitor: Facts) -> None:
    assert set(monitor["units"].values()) == {"active"}, monitor["units"]


def test_targets_are_the_hosts_of_the_inventory_and_all_are_up(monitor: Facts, lab: Lab) -> None:
    down = [target for target in monitor["targets"] if target["health"] != "up"]
    assert not down
    found = sorted((target["job"], target["instance"]) for target in monitor["targets"])
    assert found == sorted((job, host) for job, groups in JOBS.items() for host in lab.group(*groups))


def test_rules_are_loaded_and_can_be_evaluated(monitor: Facts) -> None:
    groups = [group for file in RULES for group in yaml.safe_load(file.read_text())["groups"]]
    declared = sorted(rule.get("alert") or rule["record"] for group in groups for rule in group["rules"])
    loaded = [rule["name"] for rule in monitor["rules"]]
    # One for each queue that workers are declared to consume.
    assert sorted(name for name in loaded if name != CONSUMERS) == declared
    assert CONSUMERS in loaded
    assert {rule["health"] for rule in monitor["rules"]} == {"ok"}


@pytest.mark.parametrize("port", sorted({*METRICS, 15691}))
def test_the_monitor_reaches_all_metrics(every: Facts, node: Node, lab: Lab, port: int) -> None:
    serving = [name for name in lab.nodes if port in lab.served_by(name)]
    assert serving, f"{port} is in SERVED of no group: {sorted(SERVED)}"
    assert [name for name in serving if port not in every["reach"][name]] == []


def test_flower_receives_events_of_every_worker_host(monitor: Facts, lab: Lab) -> None:
    assert set(lab.group("workers")) <= set(monitor["workers"])


def test_metrics_of_the_alerts_exist(monitor: Facts, lab: Lab) -> None:
    assert {series["instance"] for series in monitor["certificates"]} == set(lab.nodes)
    assert {"mosaic.render", "mosaic.dead"} <= {series["queue"] for series in monitor["queues"]}
    assert [series["value"] for series in monitor["ledger"]] == [1.0]
    assert {series["value"] for series in monitor["database"]} == {1.0}


def test_an_idle_client_does_not_block_others(monitor: Facts, lab: Lab) -> None:
    assert monitor["beside_idle_client"] == dict.fromkeys(lab.group("gateways"), True)


@pytest.mark.parametrize(
    "attempt", ["reload", "quit", "delete series", "publish a task", "shut a worker down"]
)
def test_apis_refuse_changes(monitor: Facts, attempt: str) -> None:
    assert monitor["refused"][attempt] >= 400


def test_only_flower_can_read_its_login(every: Facts) -> None:
    assert every["secret_files"]["/etc/warren/flower.json"] == {
        "mode": "0640",
        "owner": "root",
        "group": "flower",
    }
