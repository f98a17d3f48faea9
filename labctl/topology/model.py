"""The topology of a lab: which hosts it has, their addresses, and how large they are."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from typing import Self

from labctl.errors import UsageError

GROUPS = ("brokers", "workers", "gateways", "databases", "monitors")


@dataclass(frozen=True)
class Publish:
    """A port of a node that is reachable on 127.0.0.1 of this machine."""

    node: int
    host: int


@dataclass(frozen=True)
class Node:
    """One host of the lab. `address` is on the lab's network; `data` is the folder to keep, or "".

    `sharing`: the further groups that it is in.
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
        """What is installed on it: its groups, sorted and joined."""
        return "-".join(sorted((self.group, *self.sharing)))


def kinds(nodes: Iterable[Node]) -> list[str]:
    """The kinds of these nodes, each once, in their order."""
    return list(dict.fromkeys(node.kind for node in nodes))


def groups_of(kind: str) -> list[str]:
    """The groups that a node of this kind is in."""
    return kind.split("-")


@dataclass(frozen=True)
class Topology:
    """A valid topology: the private network (CIDR) and every node, in group order.

    `source`: the file that declares it; relative to the project when it is inside it.
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

    @property
    def url(self) -> str:
        """Address of the console on this machine, "" when no gateway publishes port 443."""
        ports = (port for node in self.group("gateways") for port in node.publish if port.node == 443)
        return next((f"https://127.0.0.1:{port.host}" for port in ports), "")

    def first(self, kind: str) -> Node:
        """The first node of a kind."""
        return next(node for node in self.nodes if node.kind == kind)

    def node(self, name: str) -> Node:
        """The named node; raises UsageError when there is none of that name."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise UsageError(f"No node is called {name!r}; there are {', '.join(n.name for n in self.nodes)}.")

    def moved_to(self, network: str, published: Mapping[str, Mapping[int, int]]) -> Self:
        """The same hosts on another network and with other host ports ({node: {node port: host port}})."""
        shift = int(ip_network(network).network_address) - int(ip_network(self.network).network_address)

        def moved(node: Node) -> Node:
            ports = published.get(node.name, {})
            return replace(
                node,
                address=str(ip_address(node.address) + shift),
                publish=tuple(Publish(p.node, ports.get(p.node, p.host)) for p in node.publish),
            )

        return replace(self, network=network, nodes=tuple(moved(node) for node in self.nodes))

    def for_bake(self) -> Self:
        """One host of each kind, from which images are committed.

        Nothing is published, and data stays in the host: an image does not contain volumes, while a new
        volume starts as the image's folder.
        """
        firsts = map(self.first, self.kinds)
        return replace(self, nodes=tuple(replace(node, publish=(), data="") for node in firsts))
