"""The private network and host ports of a lab, which differ from those of other labs and of this machine."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv4Network, ip_network

import docker

from labctl.errors import UsageError
from labctl.lab import state
from labctl.machine import routes
from labctl.machine.checks import port_is_free
from labctl.paths import DEFAULT_LAB, LabPaths
from labctl.topology.model import Topology

FIRST_FREE_PORT = 18443


def settle(paths: LabPaths, declared: Topology, client: docker.DockerClient) -> state.LabState:
    """What lab.json is to hold: the default lab's network and ports as declared, another lab's chosen once.

    Raises UsageError when the network overlaps another, or changed while the lab exists.
    """
    known = state.read(paths)
    taken = list(_taken_networks(paths, client))
    if paths.name == DEFAULT_LAB:
        _check_declared(paths, declared, taken, client)
        network = declared.network
        published = {n.name: {p.node: p.host for p in n.publish} for n in declared.nodes if n.publish}
    else:
        network = known.network if known else _free_network(declared.network, taken)
        published = _free_ports(declared, known.published if known else {}, _other_labs(paths))
    if known is None:
        return state.LabState(paths.name, network, published, {}, declared.source)
    # Another file begins with its own numbers.
    counts = known.counts if known.topology in ("", declared.source) else {}
    return replace(known, network=network, published=published, topology=declared.source, counts=counts)


def free(paths: LabPaths, like: str, client: docker.DockerClient) -> str:
    """A private network of this one's size that nothing here uses, and that is not this one."""
    return _free_network(like, list(_taken_networks(paths, client)))


def _check_declared(
    paths: LabPaths, declared: Topology, taken: list[tuple[str, IPv4Network]], client: docker.DockerClient
) -> None:
    wanted = IPv4Network(declared.network)
    for owner, other in taken:
        if wanted.overlaps(other):
            raise UsageError(
                f"network {wanted} of {declared.source} overlaps {other} ({owner}); choose another private"
                " network there."
            )
    for network in client.networks.list(names=[f"^{paths.name}$"]):
        present = [config.get("Subnet") for config in network.attrs["IPAM"]["Config"] or []]
        if present and declared.network not in present:
            raise UsageError(
                f"The lab runs on {present[0]} and {declared.source} now declares {declared.network}; run"
                " ./lab down first, or restore the old network."
            )


def _free_network(like: str, taken: list[tuple[str, IPv4Network]]) -> str:
    size = IPv4Network(like)
    for base in ("10.203.0.0/16", "10.204.0.0/16", "172.29.0.0/16", "192.168.0.0/16"):
        for candidate in IPv4Network(base).subnets(new_prefix=max(size.prefixlen, 16)):
            if not candidate.overlaps(size) and not any(candidate.overlaps(other) for _, other in taken):
                return str(candidate)
    takers = ", ".join(dict.fromkeys(owner for owner, other in taken if other.prefixlen <= 16))
    raise UsageError(
        f"No private network is free for this lab ({takers or 'many small ones'} have them); stop the VPN"
        " with these routes, let it exclude local networks, or remove unused networks (docker network prune)."
    )


def _free_ports(
    lab: Topology, known: dict[str, dict[int, int]], others: Iterator[state.LabState]
) -> dict[str, dict[int, int]]:
    """Host ports as known, else free ones that no other lab has; the default lab has the declared ones."""
    owners = [known, *(other.published for other in others)]
    used = {port for published in owners for ports in published.values() for port in ports.values()}
    used |= {port.host for node in lab.nodes for port in node.publish}
    result: dict[str, dict[int, int]] = {}
    for node in lab.nodes:
        for port in node.publish:
            host = known.get(node.name, {}).get(port.node)
            if host is None:
                host = next(n for n in range(FIRST_FREE_PORT, 65000) if n not in used and port_is_free(n))
                used.add(host)
            result.setdefault(node.name, {})[port.node] = host
    return result


def _other_labs(paths: LabPaths) -> Iterator[state.LabState]:
    for file in paths.base.glob("*/lab.json"):
        if file.parent.name != paths.name:
            with suppress(UsageError):  # a damaged file of another lab does not matter here
                other = state.read(LabPaths(file.parent.name, paths.root))
                if other is not None:
                    yield other


def _taken_networks(paths: LabPaths, client: docker.DockerClient) -> Iterator[tuple[str, IPv4Network]]:
    """Networks of Docker, of other labs, and of this machine's routes, without the lab's own."""
    own: set[IPv4Network] = set()
    for network in client.networks.list():
        for config in network.attrs["IPAM"]["Config"] or []:
            subnet = ip_network(config.get("Subnet", "::/0"), strict=False)
            if not isinstance(subnet, IPv4Network):
                continue
            if network.name == paths.name:
                own.add(subnet)
            else:
                yield f"Docker network {network.name}", subnet
    for other in _other_labs(paths):
        yield f"lab {other.lab}", IPv4Network(other.network)
    listed = routes.read()
    bridges = {route.device for route in listed if route.network in own}
    for route in listed:
        if route.device not in bridges:
            yield f"a route of this machine, {route.where}", route.network
