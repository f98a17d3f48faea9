"""What a lab remembers between commands: `.lab/<lab>/lab.json`."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from typing import Any

from labctl.errors import UsageError
from labctl.lab.files import make_private, write_private
from labctl.paths import DEFAULT_LAB, ROOT, LabPaths, lab_paths
from labctl.topology import declaration
from labctl.topology.model import Topology

VERSION = 1


@dataclass
class NodeRecord:
    """An install that finished: in this container, from this image key, with these contents (image key)."""

    container: str
    key: str


@dataclass
class LabState:
    """Network (CIDR), published ports {node: {node port: host port}} and finished installs of one lab.

    `topology`: the file that it was made from, as Topology.source; "" when that was not noted.
    """

    lab: str
    network: str
    published: dict[str, dict[int, int]] = field(default_factory=dict)
    nodes: dict[str, NodeRecord] = field(default_factory=dict)
    topology: str = ""

    def to_json(self) -> str:
        return json.dumps({"version": VERSION, **asdict(self)}, indent=2, sort_keys=True) + "\n"


def read(paths: LabPaths) -> LabState | None:
    """State of the lab, None when it has none yet; raises UsageError when the file is damaged."""
    try:
        text = paths.lab_file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        return _decode(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{paths.lab_file} is damaged ({error}); run ./lab down, which removes it with the lab."
        ) from error


def _decode(data: dict[str, Any]) -> LabState:
    if data["version"] != VERSION:
        raise ValueError(f"version {data['version']}, not {VERSION}")
    return LabState(
        lab=data["lab"],
        network=data["network"],
        published={
            node: {int(port): int(host) for port, host in ports.items()}
            for node, ports in data["published"].items()
        },
        nodes={name: NodeRecord(**record) for name, record in data["nodes"].items()},
        topology=str(data.get("topology", "")),
    )


def write(paths: LabPaths, state: LabState) -> None:
    """Replace lab.json in one step, so that an interrupted command leaves the old or the new one."""
    make_private(paths.base)
    make_private(paths.state)
    write_private(paths.lab_file, state.to_json())


def declared_topology(paths: LabPaths) -> Topology:
    """The topology of the file that the lab was made from; of a new lab as `declaration.load` chooses it."""
    known = read(paths)
    return declaration.load(ROOT / known.topology if known and known.topology else None)


def current_topology(paths: LabPaths | None = None) -> Topology:
    """The topology of a lab as it is in force: as declared, moved to what lab.json remembers.

    With LAB_BAKE=1 it is one host per group, unpublished.
    """
    paths = paths or lab_paths()
    declared = declared_topology(paths)
    state = read(paths)
    if state is not None:
        declared = declared.moved_to(state.network, state.published)
    return declared.for_bake() if os.environ.get("LAB_BAKE") == "1" else declared


def console_url(lab: Topology) -> str:
    """Address of the console on this machine, "" when no gateway publishes 443."""
    for node in lab.group("gateways"):
        for port in node.publish:
            if port.node == 443:
                return f"https://127.0.0.1:{port.host}"
    return ""


def is_default(paths: LabPaths) -> bool:
    """True for the lab that uses network and ports of topology.yml as written."""
    return paths.name == DEFAULT_LAB
