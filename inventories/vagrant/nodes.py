#!/usr/bin/env python3
"""Script inventory of Vagrant: the hosts that `vagrant up` provisioned.

It reads the inventory file that Vagrant wrote, with the connection and the groups of each host, and adds the
variables that every lab has.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from labctl.machine import speed  # noqa: E402 - the path above makes it importable

WRITTEN = Path("provisioners", "ansible", "inventory", "vagrant_ansible_inventory")
GROUPS = ("brokers", "workers", "gateways", "databases", "monitors")


def read(file: Path) -> tuple[dict[str, dict[str, Any]], dict[str, list[str]]]:
    """Variables of each host, and hosts of each group, from Vagrant's INI inventory."""
    hosts: dict[str, dict[str, Any]] = {}
    groups: dict[str, list[str]] = {group: [] for group in GROUPS}
    section = ""
    for line in file.read_text(encoding="utf-8").splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        if words[0].startswith("["):
            section = words[0].strip("[]")
        elif section:
            groups.setdefault(section, []).append(words[0])
        else:
            pairs = (word.split("=", 1) for word in words[1:])
            hosts[words[0]] = {key: int(value) if value.isdecimal() else value for key, value in pairs}
    return hosts, groups


def is_emulated(file: Path, name: str, variables: dict[str, Any]) -> bool:
    """Whether a host is a VM of libvirt with the driver qemu, which needs group_vars/emulated.yml."""
    folder = file.parents[3] / "machines" / name / "libvirt"
    return variables.get("lab_emulated") == "true" and folder.joinpath("id").exists()


def inventory(file: Path) -> dict[str, Any]:
    """The inventory in the format of Ansible's script protocol."""
    hosts, groups = read(file)
    name = os.environ.get("LAB_NAME") or "vagrant"
    gateway = next((hosts[name]["lab_address"] for name in groups["gateways"]), "")
    common = {
        "lab_name": name,
        "lab_state_dir": str(ROOT / ".lab" / name),
        "lab_cache_dir": str(ROOT / ".lab" / "cache"),
        "lab_url": f"https://{gateway}" if gateway else "",
    }
    groups["emulated"] = [name for name in hosts if is_emulated(file, name, hosts[name])]
    patience = speed.measured(file.parents[3])
    for host in hosts.keys() - set(groups["emulated"]):
        hosts[host]["lab_patience"] = patience
    if patience >= speed.EMULATED:
        groups["emulated"] = list(hosts)
    members = {group: {"hosts": names} for group, names in groups.items()}
    return {"_meta": {"hostvars": hosts}, "all": {"children": list(groups), "vars": common}, **members}


def main() -> None:
    """Print the inventory; Ansible calls it with --list, and with --host only when _meta is missing."""
    folder = Path(os.environ.get("VAGRANT_DOTFILE_PATH") or ROOT / ".vagrant")
    file = folder / WRITTEN
    # `vagrant destroy` removes a machine's id but leaves the inventory file.
    if not file.exists() or not any(folder.glob("machines/*/*/id")):
        sys.exit("Vagrant has no lab here; run vagrant up --provider=docker, or with another provider.")
    content = inventory(file)
    if len(sys.argv) == 3 and sys.argv[1] == "--host":
        content = content["_meta"]["hostvars"].get(sys.argv[2], {})
    print(json.dumps(content, indent=2))


if __name__ == "__main__":
    main()
