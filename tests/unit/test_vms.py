"""The VMs of ./lab test --vm: taken from the inventory that then reaches them."""

from __future__ import annotations

from pathlib import Path

from labctl.testing import vms


def test_machines_are_the_hosts_of_the_inventory_each_once() -> None:
    found = {machine.name: machine for machine in vms.machines()}
    assert sorted(found) == ["broker-1", "gateway-1", "worker-1"]
    assert len({machine.ssh_port for machine in found.values()}) == len(found)
    assert len({machine.address for machine in found.values()}) == len(found)


def test_only_the_gateway_is_reached_by_a_browser() -> None:
    ports = {machine.name: machine.https_port for machine in vms.machines()}
    assert ports == {"broker-1": None, "worker-1": None, "gateway-1": 8461}


def test_a_command_boots_the_machine_as_the_inventory_has_it() -> None:
    machine = vms.Machine("gateway-1", "10.61.0.21", 2221, 8461, 1280)
    words = machine.command(Path("a.box"), Path("vm"))
    assert words[:2] == ["env", "LAB_VM_MEMORY=1280"]
    assert words[3:] == ["a.box", "vm", "gateway-1", "10.61.0.21", "2221", "8461"]
