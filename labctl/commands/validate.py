"""validate: checks a topology, or an inventory, without a change and without a connection to a host."""

import json
import os
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from labctl.errors import UsageError
from labctl.paths import DOCKER_INVENTORY, LabPaths, lab_paths
from labctl.screen import Screen
from labctl.substrates.base import distinct
from labctl.substrates.ssh import HostSubstrate
from labctl.topology import declaration
from labctl.topology.declaration import REQUIRED_GROUPS
from labctl.topology.model import GROUPS


def command(given: Path | None, screen: Screen) -> int:
    """Check the given file or folder, else what LAB_INVENTORY or LAB_TOPOLOGY name. Raises UsageError."""
    chosen = os.environ.get("LAB_INVENTORY")
    file = given or (Path(chosen) if chosen else None)
    if file is not None and not file.exists():
        raise UsageError(f"{file} does not exist; give a topology, or the folder of an inventory.")
    if file is None or file.resolve() == DOCKER_INVENTORY:
        found = _topology(None)
    elif given is None or _is_inventory(file):
        found = _inventory(file.resolve())
    else:
        found = _topology(file.resolve())
    if screen.json:
        print(json.dumps(found, indent=2))
    else:
        groups = ", ".join(f"{len(hosts)} {group}" for group, hosts in found["groups"].items())
        where = f" on {found['network']}" if found.get("network") else ""
        screen.say(f"{found['source']} is valid: {found['hosts']} hosts{where} ({groups}).")
    return 0


def _is_inventory(file: Path) -> bool:
    """A topology is a YAML mapping with `groups`; a folder, and any other file, is an inventory."""
    if file.is_dir() or os.access(file, os.X_OK):
        return True
    text = file.read_text(encoding="utf-8", errors="replace")
    return not any(line.startswith(("groups:", "network:")) for line in text.splitlines())


def _topology(file: Path | None) -> dict[str, Any]:
    lab = declaration.load(file)
    groups = {group: [node.name for node in lab.group(group)] for group in GROUPS}
    return {"source": lab.source, "network": lab.network, "hosts": len(lab.nodes), "groups": groups}


def _inventory(folder: Path) -> dict[str, Any]:
    """Groups, and the address of every host: present, IPv4, and different from all others."""
    paths = lab_paths() if os.environ.get("LAB_NAME") else LabPaths("validate")
    substrate = HostSubstrate(paths, folder)
    groups, source = substrate.groups(), os.path.relpath(folder)
    problems = [f"it has no host in {group}" for group in REQUIRED_GROUPS if not groups[group]]
    if groups["brokers"] and len(groups["brokers"]) % 2 == 0:
        problems.append(f"it has {len(groups['brokers'])} brokers, and an even number has no useful majority")
    owners: dict[str, str] = {}
    for host in distinct(groups):
        address = str(substrate.variables(host).get("lab_address", ""))
        try:
            IPv4Address(address)
        except ValueError:
            problems.append(f"lab_address of {host} is {address!r}, not an IPv4 address")
            continue
        if address in owners:
            problems.append(f"{host} and {owners[address]} have the same lab_address {address}")
        owners[address] = host
    if problems:
        raise UsageError(f"Inventory {source} is not valid: {'; '.join(problems)}; correct it.")
    return {"source": source, "hosts": len(distinct(groups)), "groups": groups}
