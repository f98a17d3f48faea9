"""Topology: the project's own file, and one sentence for every wrong one."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from labctl.errors import UsageError
from labctl.paths import ROOT
from labctl.topology import declaration
from labctl.topology.model import Publish, groups_of

GOOD: dict[str, Any] = {
    "network": "10.9.0.0/24",
    "groups": {
        "brokers": {"count": 3, "first_address": 11, "memory_mb": 1024, "data": "/var/lib/rabbitmq"},
        "workers": {"count": 2, "first_address": 31, "memory_mb": 1024},
        "gateways": {"count": 1, "first_address": 21, "memory_mb": 768, "publish": {443: 8443}},
        "databases": {"count": 1, "first_address": 41, "memory_mb": 768},
    },
}


def changed(path: str, value: object) -> dict[str, Any]:
    """GOOD with the value at a dotted path replaced; None removes it."""
    data = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    place = data
    for key in parents:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return data


def message(data: object, folder: Path) -> str:
    """The error of load() for a topology.yml with this content."""
    file = folder / "topology.yml"
    file.write_text(data if isinstance(data, str) else yaml.safe_dump(data), encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        declaration.load(file)
    return str(caught.value)


def test_the_projects_own_topology_is_valid() -> None:
    lab = declaration.load()
    assert [node.name for node in lab.group("brokers")] == ["broker-1", "broker-2", "broker-3"]
    assert lab.node("gateway-1").publish == (Publish(443, 8443), Publish(6671, 8671), Publish(6432, 8432))


def test_names_addresses_and_ports_count_up() -> None:
    lab = declaration.parse(changed("groups.gateways.count", 2))
    assert [(n.name, n.address, n.publish[0].host) for n in lab.group("gateways")] == [
        ("gateway-1", "10.9.0.21", 8443),
        ("gateway-2", "10.9.0.22", 8444),
    ]


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("extra", 1, "unknown key 'extra' in the file"),
        ("groups.brokres", {}, "unknown key 'brokres' in groups"),
        ("groups.brokers.cuont", 1, "unknown key 'cuont' in brokers"),
        (
            "groups.brokers.count",
            2,
            "even number of brokers has no majority when half of them fail; set it to 1 or 3",
        ),
        ("groups.brokers.count", 0, "brokers.count is 0, but a lab needs at least 1"),
        ("groups.workers.count", 0, "workers.count is 0, but a lab needs at least 1"),
        ("groups.gateways", None, "gateways.count is 0, but a lab needs at least 1"),
        ("groups.databases.count", 0, "databases.count is 0, but a lab needs at least 1"),
        ("groups.workers.count", True, "workers.count must be a whole number"),
        ("groups.workers.count", "3", "workers.count must be a whole number"),
        ("groups.workers.count", -1, "workers.count is -1"),
        ("groups.workers.first_address", 12, "worker-1 and broker-2 would both get 10.9.0.12"),
        (
            "groups.workers.first_address",
            254,
            "would get 10.9.0.255, which is outside the hosts of 10.9.0.0/24",
        ),
        ("groups.workers.first_address", 1, "workers.first_address is 1, which is not from 2 to 254"),
        ("groups.workers.first_address", None, "workers.first_address must be a whole number"),
        ("groups.brokers.memory_mb", 100, "brokers.memory_mb is 100, which is not from 512"),
        (
            "groups.databases.publish",
            {5432: 8443},
            "database-1 and gateway-1 would both be published on port 8443",
        ),
        ("groups.gateways.publish", {443: 0}, "gateways.publish: host port is 0"),
        ("groups.gateways.publish", 8443, "gateways.publish must be a mapping"),
        ("groups.brokers.data", "var/lib", "brokers.data is 'var/lib'; give an absolute folder"),
        ("groups.brokers.data", "/", "brokers.data is '/'"),
        ("groups.databases", {"share": "databases"}, "databases.share is 'databases'; name another group"),
        ("groups.databases", {"share": "monitors"}, "monitors.count is 0, but a lab needs at least 1"),
        ("groups.databases", {"share": ["gateways"]}, "databases.share is ['gateways']; name another"),
        ("groups.databases", {"share": "gateways", "count": 1}, "unknown key 'count' in databases, which"),
        ("groups.brokers", {"share": "workers"}, "workers.count is 2, and an even number of brokers"),
        ("network", "10.9.0.1/24", "network is '10.9.0.1/24'; give an IPv4 network"),
        ("network", "8.8.8.0/24", "give a private one"),
        ("network", "10.9.0.0/29", "size /16 to /28"),
        ("network", None, "network is None"),
        ("groups", None, "groups must be a mapping"),
    ],
)
def test_each_mistake_gets_one_sentence(path: str, value: object, words: str, tmp_path: Path) -> None:
    said = message(changed(path, value), tmp_path)
    assert words in said
    assert said.endswith(".")
    assert "\n" not in said


def test_groups_may_share_the_hosts_of_another(tmp_path: Path) -> None:
    data = changed("groups.databases", {"share": "gateways"})
    data["groups"]["monitors"] = {"share": "gateways"}
    data["groups"]["gateways"]["memory_mb"] = 1152
    lab = declaration.parse(data)
    assert [node.name for node in lab.nodes][-1] == "gateway-1"
    assert lab.group("databases") == lab.group("monitors") == lab.group("gateways")
    assert lab.kinds == ["brokers", "workers", "databases-gateways-monitors"]
    assert groups_of(lab.kinds[-1]) == ["databases", "gateways", "monitors"]
    data["groups"]["gateways"]["memory_mb"] = 1151
    assert "gateways.memory_mb is 1151, which is not from 1152" in message(data, tmp_path)


def test_the_trial_is_valid() -> None:
    assert len(declaration.load(ROOT / "inventories" / "topology-trial.yml").nodes) == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("network: [", "is not valid YAML: line 1"),
        ("network: 10.9.0.0/24\nnetwork: 10.8.0.0/24\n", "line 2: key 'network' is given twice"),
        ("", "the file must be a mapping"),
        ("- a\n", "the file must be a mapping"),
    ],
)
def test_what_is_no_mapping_is_refused(text: str, words: str, tmp_path: Path) -> None:
    assert words in message(text, tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent\.yml cannot be read"):
        declaration.load(tmp_path / "absent.yml")


def test_lab_topology_names_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "small.yml"
    file.write_text(yaml.safe_dump(changed("groups.workers.count", 1)), encoding="utf-8")
    monkeypatch.setenv("LAB_TOPOLOGY", str(file))
    assert [node.name for node in declaration.load().group("workers")] == ["worker-1"]


def test_lab_topology_is_relative_to_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_TOPOLOGY", "molecule/topologies/brokers.yml")
    assert {node.group for node in declaration.load().nodes} == {"brokers"}


def test_a_wrong_lab_topology_is_named_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_TOPOLOGY", "absent.yml")
    with pytest.raises(
        UsageError, match=r"absent\.yml cannot be read .*; correct LAB_TOPOLOGY, or unset it\."
    ):
        declaration.load()


def test_lab_network_moves_the_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_NETWORK", "10.9.8")
    moved = declaration.load()
    assert moved.network == "10.9.8.0/24"
    assert moved.node("broker-1").address == "10.9.8.11"


@pytest.mark.parametrize("network", ["10.9", "10.9.8.0/24", "10.9.800", "8.8.8", "here"])
def test_a_wrong_lab_network_is_named(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_NETWORK", network)
    with pytest.raises(UsageError, match=f"LAB_NETWORK={network}: network is .*; give a"):
        declaration.load()


def test_groups_may_be_missing_only_in_a_partial_topology(tmp_path: Path) -> None:
    alone = {"network": "10.9.0.0/24", "groups": {"databases": GOOD["groups"]["databases"]}}
    assert "brokers.count is 0" in message(alone, tmp_path)
    lab = declaration.parse(alone | {"partial": True})
    assert [node.name for node in lab.nodes] == ["database-1"]
    assert "partial must be true or false" in message(alone | {"partial": "yes"}, tmp_path)


def test_an_unknown_node_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="No node is called 'worker-9'; there are broker-1"):
        declaration.parse(GOOD).node("worker-9")


def test_moving_keeps_the_offsets_and_takes_the_given_ports() -> None:
    moved = declaration.parse(GOOD).moved_to("10.44.3.0/24", {"gateway-1": {443: 18443}})
    assert moved.network == "10.44.3.0/24"
    assert moved.node("worker-2").address == "10.44.3.32"
    assert moved.node("gateway-1").publish == (Publish(443, 18443),)


def test_a_bake_has_one_unpublished_host_without_a_volume_of_each_group() -> None:
    baked = declaration.parse(GOOD).for_bake()
    assert [node.name for node in baked.nodes] == ["broker-1", "worker-1", "gateway-1", "database-1"]
    assert not any(node.publish or node.data for node in baked.nodes)
