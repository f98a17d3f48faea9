"""Waits and checks follow the speed of the machine, with Docker and with Vagrant."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from labctl.lab import inventory, state
from labctl.machine import speed
from labctl.paths import DOCKER_INVENTORY, ROOT, LabPaths
from labctl.substrates.containers import DockerSubstrate
from labctl.topology import declaration


@pytest.mark.parametrize(
    ("seconds", "cores", "expected"),
    [
        (speed.USUAL_S, 2, 1),
        (speed.USUAL_S / 3, 64, 1),
        (speed.USUAL_S * 1.9, 4, 1),
        (speed.USUAL_S * 9.2, 4, 9),
        (speed.USUAL_S * 1.2, 1, 2),
        (speed.USUAL_S * 9999, 2, 40),
    ],
    ids=["as usual", "fast", "a little slower", "emulated", "one core", "never for ever"],
)
def test_only_a_slow_machine_waits_longer(seconds: float, cores: int, expected: int) -> None:
    assert speed.factor(seconds, cores) == expected


def test_it_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert speed.remembered(tmp_path / "no-lab") == 1
    assert not (tmp_path / "no-lab").exists()
    monkeypatch.setattr(speed, "_work", lambda: speed.USUAL_S * 12)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert speed.measured(tmp_path) == 12
    monkeypatch.setattr(speed, "_work", lambda: pytest.fail("measured again"))
    assert speed.measured(tmp_path) == speed.remembered(tmp_path) == 12
    (tmp_path / speed.FILE).write_text("damaged")
    assert speed.remembered(tmp_path) == 1


def test_the_work_can_be_measured() -> None:
    assert speed._work() > 0


def test_the_hosts_of_a_slow_machine_have_longer_limits(tmp_path: Path) -> None:
    paths = LabPaths("slow", tmp_path)
    state.write(paths, state.LabState("slow", "10.203.9.0/24"))
    usual = inventory.inventory(paths, declaration.load())
    assert {host["lab_patience"] for host in usual["_meta"]["hostvars"].values()} == {1}
    assert "emulated" not in usual
    (paths.state / speed.FILE).write_text("9\n")
    slow = inventory.inventory(paths, declaration.load())
    assert {host["lab_patience"] for host in slow["_meta"]["hostvars"].values()} == {9}
    assert set(slow["emulated"]["hosts"]) == set(slow["_meta"]["hostvars"])
    assert DockerSubstrate(paths).patience() == 9
    longer = (DOCKER_INVENTORY / "group_vars" / "emulated.yml").resolve()
    assert longer == ROOT / "inventories" / "vagrant" / "group_vars" / "emulated.yml"


def test_vagrant_measures_in_the_same_way(tmp_path: Path) -> None:
    written = tmp_path / "provisioners" / "ansible" / "inventory" / "vagrant_ansible_inventory"
    written.parent.mkdir(parents=True)
    written.write_text("broker-1 lab_address=10.0.0.11\n[brokers]\nbroker-1\n")
    machine = tmp_path / "machines" / "broker-1" / "docker" / "id"
    machine.parent.mkdir(parents=True)
    machine.touch()
    (tmp_path / speed.FILE).write_text("9\n")
    listed = subprocess.run(
        [sys.executable, ROOT / "inventories" / "vagrant" / "nodes.py", "--list"],
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "VAGRANT_DOTFILE_PATH": str(tmp_path)},
    )
    content = json.loads(listed.stdout)
    assert content["_meta"]["hostvars"]["broker-1"]["lab_patience"] == 9
    assert content["emulated"]["hosts"] == ["broker-1"]


def test_the_line_names_the_factor() -> None:
    assert speed.sentence(9) == (
        "this machine is about 9 times slower than usual; waits and checks take as much longer"
    )
