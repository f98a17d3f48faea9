#!/usr/bin/env python3
"""Script inventory of Vagrant: the hosts that `vagrant up` provisioned.

The file that Vagrant wrote then says how each host is reached and which group it is in; this adds what the
contract wants of a lab.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
WRITTEN = Path("provisioners", "ansible", "inventory", "vagrant_ansible_inventory")
GROUPS = ("brokers", "workers", "gateways", "databases", "monitors")


def read(file: Path) -> tuple[dict[str, dict[str, Any]], dict[str, list[str]]]:
    """Variables of each host, and hosts of each group, from an INI inventory of Vagrant."""
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
    """True for a VM of libvirt whose driver is qemu: group_vars/emulated.yml."""
    folder = file.parents[3] / "machines" / name / "libvirt"
    return variables.get("lab_emulated") == "true" and folder.joinpath("id").exists()


def inventory(file: Path) -> dict[str, Any]:
    """The inventory as Ansible's script protocol wants it."""
    hosts, groups = read(file)
    name = os.environ.get("LAB_NAME") or "vagrant"
    door = next((hosts[gateway]["lab_address"] for gateway in groups["gateways"]), "")
    common = {
        "lab_name": name,
        "lab_state_dir": str(ROOT / ".lab" / name),
        "lab_cache_dir": str(ROOT / ".lab" / "cache"),
        "lab_url": f"https://{door}" if door else "",
    }
    groups["emulated"] = [name for name in hosts if is_emulated(file, name, hosts[name])]
    members = {group: {"hosts": names} for group, names in groups.items()}
    return {"_meta": {"hostvars": hosts}, "all": {"children": list(groups), "vars": common}, **members}


def main() -> None:
    """Print the inventory; Ansible calls with --list, and with --host only when _meta is missing."""
    folder = Path(os.environ.get("VAGRANT_DOTFILE_PATH") or ROOT / ".vagrant")
    file = folder / WRITTEN
    # A destroyed machine has no id, while the inventory stays.
    if not file.exists() or not any(folder.glob("machines/*/*/id")):
        sys.exit("Vagrant has no lab here yet: run vagrant up --provider=docker, or another provider, first.")
    content = inventory(file)
    if len(sys.argv) == 3 and sys.argv[1] == "--host":
        content = content["_meta"]["hostvars"].get(sys.argv[2], {})
    print(json.dumps(content, indent=2))


if __name__ == "__main__":
    main()
