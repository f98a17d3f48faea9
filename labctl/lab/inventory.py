"""The Docker inventory, as Ansible's script inventory protocol wants it."""

from __future__ import annotations

from typing import Any

from labctl.lab.state import console_url
from labctl.paths import LabPaths
from labctl.topology.model import GROUPS, Node, Topology


def inventory(paths: LabPaths, lab: Topology) -> dict[str, Any]:
    """All groups (also empty ones), hostvars, and variables of the whole lab."""
    groups: dict[str, Any] = {name: {"hosts": [node.name for node in lab.group(name)]} for name in GROUPS}
    return {
        "_meta": {"hostvars": {node.name: host_variables(paths.name, node) for node in lab.nodes}},
        "all": {
            "children": list(GROUPS),
            "vars": {
                "lab_name": paths.name,
                "lab_network": lab.network,
                "lab_state_dir": str(paths.state),
                "lab_cache_dir": str(paths.cache),
                "lab_url": console_url(lab),
            },
        },
        **groups,
    }


def host_variables(lab_name: str, node: Node) -> dict[str, Any]:
    """Variables of one host: how Docker calls it, and what the substrate must give it."""
    return {
        "ansible_host": f"{lab_name}-{node.name}",
        "lab_address": node.address,
        "lab_memory_mb": node.memory_mb,
        "lab_publish": [{"node": port.node, "host": port.host} for port in node.publish],
        "lab_data": node.data,
    }
