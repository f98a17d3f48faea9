"""The topology of a lab: which hosts it has, where, and how large."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from labctl.errors import UsageError

GROUPS = ("brokers", "workers", "gateways", "databases", "monitors")
_KIND_SEPARATOR = "-"


@dataclass(frozen=True)
class Publish:
    """A port of a node that is reachable on 127.0.0.1 of this machine."""

    node: int
    host: int


@dataclass(frozen=True)
class Node:
    """One host of the lab. `address` is on the lab's network, `data` is "" when nothing is kept.

    `sharing` are further groups that it is in.
    """

    name: str
    group: str
    address: str
    memory_mb: int
    data: str = ""
    publish: tuple[Publish, ...] = ()
    sharing: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """What is installed on it: its group, or all of its groups, sorted and joined."""
        return _KIND_SEPARATOR.join(sorted((self.group, *self.sharing)))


def kinds(nodes: Iterable[Node]) -> list[str]:
    """The kinds of these nodes, each once, in their order."""
    return list(dict.fromkeys(node.kind for node in nodes))


def groups_of(kind: str) -> list[str]:
    """The groups that a node of this kind is in."""
    return kind.split(_KIND_SEPARATOR)


@dataclass(frozen=True)
class Topology:
    """A valid topology: the private network (CIDR) and every node, in group order.

    `source`: the file that declares it, relative to the project where it is a part of that.
    """

    network: str
    nodes: tuple[Node, ...]
    source: str = ""

    def group(self, name: str) -> tuple[Node, ...]:
        """Nodes of one group, maybe none."""
        return tuple(node for node in self.nodes if name in (node.group, *node.sharing))

    @property
    def kinds(self) -> list[str]:
        """Every kind of node, in the order of the nodes."""
        return kinds(self.nodes)

    def first(self, kind: str) -> Node:
        """The first node of a kind that there is."""
        return next(node for node in self.nodes if node.kind == kind)

    def node(self, name: str) -> Node:
        """The named node; raises UsageError when there is none of that name."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise UsageError(f"No node is called {name!r}; there are {', '.join(n.name for n in self.nodes)}.")

    @property
    def memory_mb(self) -> int:
        """Sum of all memory limits."""
        return sum(node.memory_mb for node in self.nodes)

    def moved_to(self, network: str, published: Mapping[str, Mapping[int, int]]) -> Topology:
        """The same hosts on another network and with other host ports ({node: {node port: host port}})."""
        old, new = ipaddress.ip_network(self.network), ipaddress.ip_network(network)

        def moved(node: Node) -> Node:
            offset = int(ipaddress.ip_address(node.address)) - int(old.network_address)
            ports = published.get(node.name, {})
            return replace(
                node,
                address=str(new.network_address + offset),
                publish=tuple(Publish(p.node, ports.get(p.node, p.host)) for p in node.publish),
            )

        return replace(self, network=network, nodes=tuple(moved(node) for node in self.nodes))

    def for_bake(self) -> Topology:
        """One host of each kind, as a source of images.

        Nothing is published, and data stays in the host: a volume would not go into the image, while a new
        volume starts as the image's folder.
        """
        firsts = map(self.first, self.kinds)
        return replace(self, nodes=tuple(replace(node, publish=(), data="") for node in firsts))
