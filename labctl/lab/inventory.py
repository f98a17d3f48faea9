"""The Docker inventory, in the form of Ansible's script inventories."""

from typing import Any

from labctl.paths import LabPaths
from labctl.topology.model import GROUPS, Topology


def inventory(paths: LabPaths, lab: Topology) -> dict[str, Any]:
    """All groups (also empty ones), the variables of each host, and those of the lab."""
    variables = {
        node.name: {
            "ansible_host": f"{paths.name}-{node.name}",
            "lab_address": node.address,
            "lab_memory_mb": node.memory_mb,
            "lab_publish": [{"node": port.node, "host": port.host} for port in node.publish],
            "lab_data": node.data,
        }
        for node in lab.nodes
    }
    of_all = {
        "lab_name": paths.name,
        "lab_network": lab.network,
        "lab_state_dir": str(paths.state),
        "lab_cache_dir": str(paths.cache),
        "lab_url": lab.url,
    }
    groups = {name: {"hosts": [node.name for node in lab.group(name)]} for name in GROUPS}
    return {"_meta": {"hostvars": variables}, "all": {"children": list(GROUPS), "vars": of_all}, **groups}
