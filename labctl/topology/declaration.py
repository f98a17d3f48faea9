"""Reads a topology from inventories/topology.yml, or from the file that LAB_TOPOLOGY names.

LAB_NETWORK, the first three parts of a network as for Vagrant, replaces the network in the file.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from labctl.errors import UsageError
from labctl.paths import ROOT
from labctl.topology.model import GROUPS, Node, Publish, Topology
from labctl.topology.values import InvalidError, integer, mapping, read

DEFAULT = "inventories/topology.yml"
TOPOLOGY_FILE = ROOT / DEFAULT
REQUIRED_GROUPS = ("brokers", "workers", "gateways", "databases")
MINIMUM_MEMORY_MB = {"brokers": 512, "workers": 384, "gateways": 384, "databases": 384, "monitors": 384}
_GROUP_KEYS = {"count", "first_address", "memory_mb", "publish", "data"}


def chosen() -> Path | None:
    """The file that LAB_TOPOLOGY names, relative to the project's folder; None when it names none."""
    name = os.environ.get("LAB_TOPOLOGY")
    return Path(os.path.normpath(ROOT / name)) if name else None


def load(path: Path | None = None, counts: Mapping[str, int] | None = None) -> Topology:
    """Read and check a topology; by default the file of LAB_TOPOLOGY, else inventories/topology.yml.

    `counts`: hosts of groups, instead of the numbers in the file.

    Raises UsageError with one sentence that names file, cause and remedy.
    """
    path = path or chosen() or TOPOLOGY_FILE
    source = shown = os.path.relpath(path, ROOT) if path.is_relative_to(ROOT) else str(path)
    try:
        data = read(path.read_text(encoding="utf-8"))
        network = os.environ.get("LAB_NETWORK")
        if network and isinstance(data, dict):
            data["network"] = f"{network}.0/24"
            shown += f" with LAB_NETWORK={network}"
        for group, count in (counts or {}).items():
            shown += f" with {group}={count}"
            groups = mapping(mapping(data, "the file").get("groups"), "groups")
            mapping(groups.get(group), group)["count"] = count
        return replace(parse(data), source=source)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{shown} cannot be read ({error}); {_remedy(path)}.") from error
    except InvalidError as error:
        raise UsageError(f"{shown}: {error}.") from error


def _remedy(path: Path) -> str:
    if path == chosen():
        return "correct LAB_TOPOLOGY, or unset it"
    if path == TOPOLOGY_FILE:
        return "restore it, for example from git"
    return "the lab was created from it: restore it, or set LAB_TOPOLOGY to another file for ./lab up"


def parse(data: object) -> Topology:
    """Turn the content of topology.yml into a Topology; raises InvalidError, which names the wrong value.

    `partial: true` lets groups be missing or empty, for hosts on which single roles are tried.
    """
    top = mapping(data, "the file", {"network", "groups", "partial"})
    partial = top.get("partial", False)
    if not isinstance(partial, bool):
        raise InvalidError(f"partial must be true or false, not {partial!r}")
    network = _network(top.get("network"))
    groups = mapping(top.get("groups"), "groups", set(GROUPS))
    carriers = {group: _carrier(group, groups) for group in GROUPS}
    nodes: list[Node] = []
    for group in GROUPS:
        if carriers[group] == group:
            sharing = tuple(name for name in GROUPS if carriers[name] == group and name != group)
            nodes += _group_nodes(group, sharing, groups.get(group, {}), network, partial=partial)
    _refuse_duplicates(nodes)
    return Topology(str(network), tuple(nodes))


def _carrier(group: str, groups: dict[Any, Any]) -> str:
    """The group whose hosts this one uses: another group with `share`, else itself."""
    spec = mapping(groups.get(group, {}), group)
    if "share" not in spec:
        return group
    mapping(spec, f"{group}, which shares hosts", {"share"})
    carrier = spec["share"]
    if carrier == group or carrier not in GROUPS or "share" in mapping(groups.get(carrier, {}), carrier):
        raise InvalidError(f"{group}.share is {carrier!r}; name another group, one with hosts of its own")
    return str(carrier)


def _group_nodes(
    group: str, sharing: tuple[str, ...], data: object, network: IPv4Network, *, partial: bool
) -> list[Node]:
    carried = {group, *sharing}
    spec = mapping(data, group, _GROUP_KEYS)
    count = integer(spec.get("count", 0), f"{group}.count", 0, 250)
    if count == 0:
        if partial or carried.isdisjoint(REQUIRED_GROUPS):
            return []
        raise InvalidError(f"{group}.count is 0, but a lab needs at least 1 of them; raise it")
    if "brokers" in carried and count % 2 == 0:
        raise InvalidError(
            f"{group}.count is {count}, and an even number of brokers has no majority when half of them fail;"
            f" set it to {count - 1} or {count + 1}"
        )
    first = integer(spec.get("first_address"), f"{group}.first_address", 2, network.num_addresses - 2)
    last = network.network_address + first + count - 1
    if last >= network.broadcast_address:
        raise InvalidError(
            f"{group}: the last of {count} hosts would get {last}, which is outside the hosts of {network};"
            f" lower {group}.first_address or {group}.count, or widen network"
        )
    least = sum(MINIMUM_MEMORY_MB[name] for name in carried)
    memory = integer(spec.get("memory_mb"), f"{group}.memory_mb", least, 1024 * 1024)
    path = spec.get("data", "")
    if not isinstance(path, str) or (path and (not path.startswith("/") or ":" in path or path == "/")):
        raise InvalidError(f"{group}.data is {path!r}; give an absolute folder below / without a colon")
    where = f"{group}.publish"
    ports = {
        integer(node, f"{where}: node port", 1, 65535): integer(host, f"{where}: host port", 1, 65000)
        for node, host in mapping(spec.get("publish", {}), where).items()
    }
    return [
        Node(
            name=f"{group.removesuffix('s')}-{index + 1}",
            group=group,
            address=str(network.network_address + first + index),
            memory_mb=memory,
            data=path,
            publish=tuple(Publish(node, host + index) for node, host in ports.items()),
            sharing=sharing,
        )
        for index in range(count)
    ]


def _network(value: object) -> IPv4Network:
    try:
        network = IPv4Network(value if isinstance(value, str) else "")
    except ValueError as error:
        raise InvalidError(f"network is {value!r}; give an IPv4 network like 10.203.0.0/24") from error
    if not network.is_private or not 16 <= network.prefixlen <= 28:
        raise InvalidError(f"network is {network}; give a private one of size /16 to /28, like 10.203.0.0/24")
    return network


def _refuse_duplicates(nodes: list[Node]) -> None:
    """Raise InvalidError when two nodes have an address or a published port in common."""
    owners: dict[str | int, str] = {}
    for node in nodes:
        values: list[str | int] = [node.address, *(port.host for port in node.publish)]
        for value in values:
            if value in owners:
                what = f"get {value}" if value == node.address else f"be published on port {value}"
                key = "first_address" if value == node.address else "publish"
                raise InvalidError(
                    f"{node.name} and {owners[value]} would both {what}; change {node.group}.{key}"
                )
            owners[value] = node.name
