"""The schema of topology.yml that editors use agrees with what ./lab reads."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from labctl.paths import ROOT
from labctl.topology import declaration
from labctl.topology.model import GROUPS
from labctl.topology.values import InvalidError

FILE = ROOT / "inventories" / "topology.schema.json"
SCHEMA = json.loads(FILE.read_text(encoding="utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA)
USUAL = yaml.safe_load(declaration.TOPOLOGY_FILE.read_text(encoding="utf-8"))
TOPOLOGIES = sorted(ROOT.glob("inventories/topology*.yml"))


def edited(path: str, value: object) -> Any:
    """The usual topology with one value replaced."""
    result = copy.deepcopy(USUAL)
    *parents, last = path.split(".")
    place = result
    for parent in parents:
        place = place[parent]
    place[last] = value
    return result


def accepted(document: object) -> tuple[bool, bool]:
    """Whether the schema and the loader accept it; an editor sees keys as texts."""
    try:
        declaration.parse(document)
    except InvalidError:
        loaded = False
    else:
        loaded = True
    return VALIDATOR.is_valid(json.loads(json.dumps(document))), loaded


@pytest.mark.parametrize("file", TOPOLOGIES, ids=lambda file: file.name)
def test_the_topologies_name_their_schema_and_are_valid(file: Any) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.splitlines()[1] == f"# yaml-language-server: $schema={FILE.name}"
    assert accepted(yaml.safe_load(text)) == (True, True)


def test_the_schema_itself_is_valid_and_has_the_keys_of_the_loader() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert set(SCHEMA["properties"]["groups"]["properties"]) == set(GROUPS)
    assert set(SCHEMA["$defs"]["group"]["properties"]) == {*declaration._GROUP_KEYS, "share"}
    memory = SCHEMA["$defs"]["group"]["properties"]["memory_mb"]["minimum"]
    assert memory == min(declaration.MINIMUM_MEMORY_MB.values())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("network", "172.29.0.0/16"),
        ("network", "192.168.7.0/24"),
        ("partial", True),
        ("groups.workers.count", 1),
        ("groups.brokers.count", 5),
        ("groups.monitors", {"count": 0}),
        ("groups.monitors", {"share": "gateways"}),
        ("groups.gateways.publish", {443: 9443}),
        ("groups.brokers.data", ""),
    ],
)
def test_what_the_loader_accepts_the_schema_accepts(path: str, value: object) -> None:
    assert accepted(edited(path, value)) == (True, True)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("network", "10.203.0.0"),
        ("network", "10.0.0.0/8"),
        ("network", "8.8.8.0/24"),
        ("network", 10),
        ("partial", "yes"),
        ("nodes", {}),
        ("groups.clients", {"count": 1}),
        ("groups.brokers.count", 2),
        ("groups.workers.count", "3"),
        ("groups.workers.count", 251),
        ("groups.workers.first_address", 1),
        ("groups.workers.memory_mb", 100),
        ("groups.workers.size", 1),
        ("groups.workers", {"count": 1}),
        ("groups.workers", {"share": "gateways", "count": 1}),
        ("groups.monitors", {"share": "nodes"}),
        ("groups.brokers.data", "var/lib"),
        ("groups.gateways.publish", {443: "8443"}),
        ("groups.gateways.publish", {443: 65001}),
        ("groups.gateways.publish", [443]),
    ],
)
def test_what_the_schema_refuses_the_loader_refuses(path: str, value: object) -> None:
    assert accepted(edited(path, value)) == (False, False)
