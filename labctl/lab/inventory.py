"""The Docker inventory, in the form of Ansible's script inventories."""

from pathlib import Path
from typing import Any

import yaml

from labctl.errors import UsageError
from labctl.lab.state import is_connected
from labctl.machine import speed
from labctl.paths import LabPaths
from labctl.topology.model import GROUPS, Topology


def inventory(paths: LabPaths, lab: Topology) -> dict[str, Any]:
    """All groups (also empty ones), the variables of each host, and those of the lab."""
    patience = speed.remembered(paths.state)
    variables = {
        node.name: {
            "ansible_host": f"{paths.name}-{node.name}",
            "lab_address": node.address,
            "lab_memory_mb": node.memory_mb,
            "lab_publish": [{"node": port.node, "host": port.host} for port in node.publish],
            "lab_data": node.data,
            "lab_patience": patience,
        }
        for node in lab.nodes
    }
    of_all = {
        "lab_name": paths.name,
        "lab_network": lab.network,
        "lab_state_dir": str(paths.state),
        "lab_cache_dir": str(paths.cache),
        "lab_url": lab.url,
        "lab_connected": is_connected(paths),
        "lab_added_applications": added_applications(paths.state / "applications.yml"),
    }
    groups = {name: {"hosts": [node.name for node in lab.group(name)]} for name in GROUPS}
    if patience >= speed.EMULATED:
        groups["emulated"] = {"hosts": list(variables)}
    return {"_meta": {"hostvars": variables}, "all": {"children": list(groups), "vars": of_all}, **groups}


class _Loader(yaml.SafeLoader):
    """Reads a date as a text, because neither JSON nor an environment has dates."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def added_applications(file: Path) -> list[Any]:
    """Applications beside mosaic, as in lab_applications; none without the file. Raises UsageError."""
    try:
        found = yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except FileNotFoundError:
        return []
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"{file} cannot be read ({error}); correct it, or remove it.") from error
    if not isinstance(found, list):
        raise UsageError(f"{file} must be a list of applications; correct it, or remove it.")
    return found
