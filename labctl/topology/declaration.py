"""Reads a topology from inventories/topology.yml, or from the file that LAB_TOPOLOGY names.

LAB_NETWORK, the first three parts of a network as for Vagrant, is used instead of the network named there.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from labctl.errors import UsageError
from labctl.paths import ROOT
from labctl.topology import strict_yaml, values
from labctl.topology.model import GROUPS, Node, Publish, Topology

DEFAULT = "inventories/topology.yml"
TOPOLOGY_FILE = ROOT / DEFAULT
REQUIRED_GROUPS = ("brokers", "workers", "gateways", "databases")
MINIMUM_MEMORY_MB = {"brokers": 512, "workers": 384, "gateways": 384, "databases": 384, "monitors": 384}
_GROUP_KEYS = {"count", "first_address", "memory_mb", "publish", "data"}


def chosen() -> Path | None:
    """The file that LAB_TOPOLOGY names, relative to the project's folder; None when it names none."""
    name = os.environ.get("LAB_TOPOLOGY")
    return Path(os.path.normpath(ROOT / name)) if name else None


def load(path: Path | None = None) -> Topology:
    """Read and check a topology, by default the one of LAB_TOPOLOGY, else inventories/topology.yml.

    Raises UsageError with one sentence that names file, cause and remedy.
    """
    path = path or chosen() or TOPOLOGY_FILE
    source = shown = os.path.relpath(path, ROOT) if path.is_relative_to(ROOT) else str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{shown} cannot be read ({error}); {_way_out(path)}.") from error
    try:
        data = strict_yaml.read(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{shown} is not valid YAML: {strict_yaml.problem(error)}; correct it.") from error
    network = os.environ.get("LAB_NETWORK")
    if network and isinstance(data, dict):
        data["network"] = f"{network}.0/24"
        shown += f" with LAB_NETWORK={network}"
    try:
        return replace(parse(data), source=source)
    except values.InvalidError as error:
        raise UsageError(f"{shown}: {error}.") from error


def _way_out(path: Path) -> str:
    if path == chosen():
        return "correct LAB_TOPOLOGY, or unset it"
    if path == TOPOLOGY_FILE:
        return "restore it, for example from git"
    return "the lab was made from it: restore it, or give ./lab up another by LAB_TOPOLOGY"


def parse(data: object) -> Topology:
    """Turn the content of topology.yml into a Topology; raises an error whose text names the wrong value.

    `partial: true` lets groups be missing or empty, for hosts on which single roles are tried.
    """
    top = values.mapping(data, "the file")
    values.only_known(top, {"network", "groups", "partial"}, "the file")
    partial = values.boolean(top.get("partial", False), "partial")
    network = _network(top.get("network"))
    groups = values.mapping(top.get("groups"), "groups")
    values.only_known(groups, set(GROUPS), "groups")
    carriers = {group: _carrier(group, groups) for group in GROUPS}
    nodes: list[Node] = []
    for group in GROUPS:
        if carriers[group] == group:
            sharing = tuple(name for name in GROUPS if carriers[name] == group and name != group)
            nodes += _group_nodes(group, sharing, groups.get(group, {}), network, partial=partial)
    _unique_addresses(nodes)
    _unique_ports(nodes)
    return Topology(str(network), tuple(nodes))


def _carrier(group: str, groups: Mapping[Any, Any]) -> str:
    """The group whose hosts carry this one: another where it says `share`, else itself."""
    spec = values.mapping(groups.get(group, {}), group)
    if "share" not in spec:
        return group
    values.only_known(spec, {"share"}, f"{group}, which shares hosts")
    carrier = spec["share"]
    if (
        carrier == group
        or carrier not in GROUPS
        or "share" in values.mapping(groups.get(carrier, {}), carrier)
    ):
        raise values.InvalidError(
            f"{group}.share is {carrier!r}; name another group, one with hosts of its own"
        )
    return str(carrier)


def _group_nodes(
    group: str, sharing: tuple[str, ...], data: object, network: ipaddress.IPv4Network, *, partial: bool
) -> list[Node]:
    carried = {group, *sharing}
    spec = values.mapping(data, group)
    values.only_known(spec, _GROUP_KEYS, group)
    count = values.integer(spec.get("count", 0), f"{group}.count", 0, 250)
    if partial and count == 0:
        return []
    if count < 1 and not carried.isdisjoint(REQUIRED_GROUPS):
        raise values.InvalidError(f"{group}.count is {count}, but a lab needs at least 1 of them; raise it")
    if "brokers" in carried and count % 2 == 0:
        raise values.InvalidError(
            f"{group}.count is {count}, and an even number of brokers has no majority when half of them fail;"
            f" make it {count - 1} or {count + 1}"
        )
    if count == 0:
        return []
    first = values.integer(spec.get("first_address"), f"{group}.first_address", 2, network.num_addresses - 2)
    if first + count - 1 > network.num_addresses - 2:
        outside = network.network_address + first + count - 1
        raise values.InvalidError(
            f"{group}: the last of {count} hosts would get {outside}, which is outside the hosts of"
            f" {network}; lower {group}.first_address or {group}.count, or widen network"
        )
    least = sum(MINIMUM_MEMORY_MB[name] for name in carried)
    memory = values.integer(spec.get("memory_mb"), f"{group}.memory_mb", least, 1024 * 1024)
    path = spec.get("data", "")
    if not isinstance(path, str) or (path and (not path.startswith("/") or ":" in path or path == "/")):
        raise values.InvalidError(
            f"{group}.data is {path!r}; give an absolute folder below / without a colon"
        )
    ports = _publish(spec.get("publish", {}), group)
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


def _network(value: object) -> ipaddress.IPv4Network:
    try:
        network = ipaddress.IPv4Network(value if isinstance(value, str) else "")
    except ValueError as error:
        raise values.InvalidError(f"network is {value!r}; give an IPv4 network like 10.203.0.0/24") from error
    if not network.is_private or not 16 <= network.prefixlen <= 28:
        raise values.InvalidError(
            f"network is {network}; give a private one of size /16 to /28, like 10.203.0.0/24"
        )
    return network


def _publish(data: object, group: str) -> dict[int, int]:
    where = f"{group}.publish"
    return {
        values.integer(node, f"{where}: node port", 1, 65535): values.integer(
            host, f"{where}: host port", 1, 65000
        )
        for node, host in values.mapping(data, where).items()
    }


def _unique_addresses(nodes: list[Node]) -> None:
    owners: dict[str, str] = {}
    for node in nodes:
        if node.address in owners:
            raise values.InvalidError(
                f"{node.name} and {owners[node.address]} would both get {node.address};"
                f" change {node.group}.first_address"
            )
        owners[node.address] = node.name


def _unique_ports(nodes: list[Node]) -> None:
    owners: dict[int, str] = {}
    for node in nodes:
        for port in node.publish:
            if port.host in owners:
                raise values.InvalidError(
                    f"{node.name} and {owners[port.host]} would both be published on port {port.host};"
                    f" change {node.group}.publish"
                )
            owners[port.host] = node.name
