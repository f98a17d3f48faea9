"""The Docker inventory script keeps the inventory contract."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labctl.errors import UsageError
from labctl.lab import state
from labctl.lab.files import remove_state
from labctl.lab.inventory import added_applications
from labctl.paths import ROOT, LabPaths
from labctl.topology.model import GROUPS

SCRIPT = ROOT / "inventories" / "docker" / "nodes.py"


def listed(*arguments: str, **environment: str) -> Any:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        check=True,
        capture_output=True,
        text=True,
        cwd="/",
        env={**os.environ, "LAB_NAME": "no-such-lab", **environment},
    )
    return json.loads(done.stdout)


def test_every_group_exists_even_when_empty() -> None:
    content = listed("--list")
    assert content["all"]["children"] == list(GROUPS)
    assert content["monitors"] == {"hosts": ["monitor-1"]}
    small = listed("--list", LAB_TOPOLOGY="molecule/topologies/small.yml")
    assert small["monitors"] == {"hosts": []}
    assert content["brokers"]["hosts"] == ["broker-1", "broker-2", "broker-3"]


def test_hosts_and_lab_have_the_contracts_variables() -> None:
    content = listed("--list")
    gateway = content["_meta"]["hostvars"]["gateway-1"]
    assert gateway == {
        "ansible_host": "no-such-lab-gateway-1",
        "lab_address": "10.203.0.21",
        "lab_memory_mb": 768,
        "lab_publish": [
            {"node": 443, "host": 8443},
            {"node": 6671, "host": 8671},
            {"node": 6432, "host": 8432},
        ],
        "lab_data": "",
        "lab_patience": 1,
    }
    lab = content["all"]["vars"]
    assert lab["lab_state_dir"] == str(ROOT / ".lab" / "no-such-lab")
    assert lab["lab_cache_dir"] == str(ROOT / ".lab" / "cache")
    assert lab["lab_url"] == "https://127.0.0.1:8443"
    assert (lab["lab_name"], lab["lab_network"]) == ("no-such-lab", "10.203.0.0/24")


def test_a_host_that_groups_share_is_in_each_of_them() -> None:
    content = listed("--list", LAB_TOPOLOGY="inventories/topology-trial.yml")
    assert [content[group] for group in ("gateways", "databases", "monitors")] == [
        {"hosts": ["gateway-1"]}
    ] * 3


@pytest.mark.parametrize(
    ("command", "seen"),
    [
        ([str(SCRIPT)], lambda content: content["monitors"] == {"hosts": ["gateway-1"]}),
        (["-m", "labctl.images.keys"], lambda content: "databases-gateways-monitors" in content),
    ],
)
def test_every_reader_sees_the_topology_that_the_lab_was_made_from(
    command: list[str], seen: Callable[[Any], bool]
) -> None:
    paths = LabPaths(f"unit-{os.getpid()}")
    try:
        state.write(
            paths, state.LabState(paths.name, "10.203.0.0/24", topology="inventories/topology-trial.yml")
        )
        environment = {**os.environ, "LAB_NAME": paths.name}
        environment.pop("LAB_TOPOLOGY", None)
        done = subprocess.run(
            [sys.executable, *command], check=True, capture_output=True, text=True, cwd=ROOT, env=environment
        )
        assert seen(json.loads(done.stdout))
    finally:
        remove_state(paths)


def test_one_host_is_answered_alone() -> None:
    assert listed("--host", "broker-2")["lab_address"] == "10.203.0.12"
    assert listed("--host", "nobody") == {}


def test_a_bake_publishes_nothing() -> None:
    content = listed("--list", LAB_BAKE="1")
    assert content["brokers"]["hosts"] == ["broker-1"]
    assert content["workers"]["hosts"] == ["worker-1"]
    assert content["all"]["vars"]["lab_url"] == ""


def test_a_wrong_lab_name_is_one_sentence_and_a_failure() -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        listed("--list", LAB_NAME="Not Usable")
    assert "is no usable name" in caught.value.stderr
    assert "Traceback" not in caught.value.stderr


def test_applications_of_the_lab_are_in_its_inventory(tmp_path: Path) -> None:
    paths = LabPaths("x", root=tmp_path)
    file = paths.state / "applications.yml"
    assert added_applications(file) == []
    file.parent.mkdir(parents=True)
    file.write_text("- {name: shop, app: shop.celery:app}\n")
    assert added_applications(file) == [{"name": "shop", "app": "shop.celery:app"}]
    file.write_text("- {name: shop, environment: {SINCE: 2026-01-31}}\n")
    assert added_applications(file) == [{"name": "shop", "environment": {"SINCE": "2026-01-31"}}]
    for wrong in ("{name: shop}", "- {", "shop"):
        file.write_text(wrong)
        with pytest.raises(UsageError, match=r"applications\.yml"):
            added_applications(file)
