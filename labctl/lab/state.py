"""What a lab remembers between commands: `.lab/<lab>/lab.json`."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from labctl.errors import UsageError
from labctl.lab.files import make_private, write_private
from labctl.paths import ROOT, LabPaths
from labctl.topology import declaration
from labctl.topology.model import Topology

VERSION = 1


@dataclass
class NodeRecord:
    """A finished installation: the container, and the key of the image that has the same contents."""

    container: str
    key: str


@dataclass
class LabState:
    """Network (CIDR), published ports {node: {node port: host port}} and finished installations of a lab.

    `connected`: whether ./lab connect has opened the ports for applications on this machine.
    `topology`: the file that it was created from, as Topology.source; "" when that was not noted.
    `counts`: hosts of groups, where ./lab scale has changed the number in that file.
    """

    lab: str
    network: str
    published: dict[str, dict[int, int]] = field(default_factory=dict)
    nodes: dict[str, NodeRecord] = field(default_factory=dict)
    topology: str = ""
    connected: bool = False
    counts: dict[str, int] = field(default_factory=dict)
    version: int = VERSION

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise ValueError(f"version {self.version}, not {VERSION}")


def read(paths: LabPaths) -> LabState | None:
    """State of the lab, None when it has none yet; raises UsageError when the file is damaged."""
    try:
        data = json.loads(paths.lab_file.read_text(encoding="utf-8"))
        ports = data.pop("published").items()
        published = {node: {int(port): int(host) for port, host in own.items()} for node, own in ports}
        nodes = {name: NodeRecord(**record) for name, record in data.pop("nodes").items()}
        return LabState(**data, published=published, nodes=nodes)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{paths.lab_file} is damaged ({error}); run ./lab down, which removes it with the lab."
        ) from error


def _document(state: LabState) -> dict[str, object]:
    """Without `connected` and `counts` when they are not used: so earlier versions of ./lab read the file."""
    return {key: value for key, value in asdict(state).items() if key not in ("connected", "counts") or value}


def write(paths: LabPaths, state: LabState) -> None:
    """Replace lab.json in one step, so that an interrupted command leaves the old or the new one."""
    make_private(paths.base)
    make_private(paths.state)
    write_private(paths.lab_file, json.dumps(_document(state), indent=2, sort_keys=True) + "\n")


def is_connected(paths: LabPaths) -> bool:
    """Whether ./lab connect is in use."""
    state = read(paths)
    return state is not None and state.connected


def declared_topology(paths: LabPaths, counts: Mapping[str, int] | None = None) -> Topology:
    """The topology of the file that the lab was created from; for a new lab, of `declaration.load`.

    `counts`: hosts of groups; by default those of ./lab scale.
    """
    known = read(paths)
    file = ROOT / known.topology if known and known.topology else None
    return declaration.load(file, known.counts if known and counts is None else counts)


def current_topology(paths: LabPaths) -> Topology:
    """The topology of a lab as it is in force: as declared, moved to what lab.json remembers.

    With LAB_BAKE=1 it has one host of each kind, unpublished.
    """
    declared = declared_topology(paths)
    state = read(paths)
    if state is not None:
        declared = declared.moved_to(state.network, state.published)
    return declared.for_bake() if os.environ.get("LAB_BAKE") == "1" else declared
