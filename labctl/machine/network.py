"""Which private network and host ports a lab gets, beside the other labs and networks of this machine."""

import ipaddress
import subprocess
from collections.abc import Iterable, Iterator

import docker

from labctl.errors import UsageError
from labctl.lab import state
from labctl.machine.checks import port_is_free
from labctl.paths import LabPaths
from labctl.topology.model import Topology

FIRST_FREE_PORT = 18443


def settle(paths: LabPaths, declared: Topology, client: docker.DockerClient) -> state.LabState:
    """What the lab is to remember: its network and ports as remembered, else as declared, else free ones.

    The default lab follows its topology, any other chooses once. Raises UsageError on overlap.
    """
    known = state.read(paths)
    taken = list(_taken_networks(paths, client))
    if state.is_default(paths):
        _refuse_overlap(declared, taken)
        _refuse_move(paths, declared, client)
        network = declared.network
        published = {n.name: {p.node: p.host for p in n.publish} for n in declared.nodes if n.publish}
    else:
        network = known.network if known else _free_network(declared.network, taken)
        published = _free_ports(declared, known.published if known else {}, _ports_of_other_labs(paths))
    return state.LabState(
        paths.name, network, published, known.nodes if known else {}, topology=declared.source
    )


def free(paths: LabPaths, like: str, client: docker.DockerClient) -> str:
    """A private network of this one's size that nothing here uses, and that is not this one."""
    return _free_network(like, list(_taken_networks(paths, client)))


def _refuse_move(paths: LabPaths, declared: Topology, client: docker.DockerClient) -> None:
    for network in client.networks.list(names=[f"^{paths.name}$"]):
        present = [config.get("Subnet") for config in network.attrs["IPAM"]["Config"] or []]
        if present and declared.network not in present:
            raise UsageError(
                f"The lab runs on {present[0]} and {declared.source} now says {declared.network}; run ./lab"
                " down first, or restore the old network."
            )


def _refuse_overlap(declared: Topology, taken: Iterable[tuple[str, ipaddress.IPv4Network]]) -> None:
    wanted = ipaddress.IPv4Network(declared.network)
    for owner, other in taken:
        if wanted.overlaps(other):
            raise UsageError(
                f"network {wanted} of {declared.source} overlaps {other} ({owner}); choose another private"
                " network there."
            )


def _free_network(like: str, taken: list[tuple[str, ipaddress.IPv4Network]]) -> str:
    size = ipaddress.IPv4Network(like)
    for base in ("10.203.0.0/16", "10.204.0.0/16", "172.29.0.0/16", "192.168.0.0/16"):
        for candidate in ipaddress.IPv4Network(base).subnets(new_prefix=max(size.prefixlen, 16)):
            if not candidate.overlaps(size) and not any(candidate.overlaps(other) for _, other in taken):
                return str(candidate)
    raise UsageError(
        "No private network is free for this lab; remove unused ones with `docker network prune`."
    )


def _free_ports(
    lab: Topology, known: dict[str, dict[int, int]], others: set[int]
) -> dict[str, dict[int, int]]:
    used = others | {port for ports in known.values() for port in ports.values()}
    used |= {p.host for node in lab.nodes for p in node.publish}  # the default lab's
    result: dict[str, dict[int, int]] = {}
    for node in lab.nodes:
        for port in node.publish:
            host = known.get(node.name, {}).get(port.node)
            if host is None:
                host = next(n for n in range(FIRST_FREE_PORT, 65000) if n not in used and port_is_free(n))
                used.add(host)
            result.setdefault(node.name, {})[port.node] = host
    return result


def _ports_of_other_labs(paths: LabPaths) -> set[int]:
    return {
        port for other in _other_labs(paths) for ports in other.published.values() for port in ports.values()
    }


def _other_labs(paths: LabPaths) -> Iterator[state.LabState]:
    for file in paths.base.glob("*/lab.json"):
        if file.parent.name != paths.name:
            try:
                other = state.read(LabPaths(file.parent.name, paths.root))
            except UsageError:
                continue  # a damaged neighbour is its own user's matter
            if other is not None:
                yield other


def _taken_networks(
    paths: LabPaths, client: docker.DockerClient
) -> Iterator[tuple[str, ipaddress.IPv4Network]]:
    """Networks of Docker, of other labs, and of this machine's routes, save the lab's own."""
    own: set[ipaddress.IPv4Network] = set()
    for network in client.networks.list():
        for config in network.attrs["IPAM"]["Config"] or []:
            subnet = ipaddress.ip_network(config["Subnet"], strict=False)
            if not isinstance(subnet, ipaddress.IPv4Network):
                continue
            if network.name == paths.name:
                own.add(subnet)
            else:
                yield f"Docker network {network.name}", subnet
    for other in _other_labs(paths):
        yield f"lab {other.lab}", ipaddress.IPv4Network(other.network)
    for device, route in _routes():
        if route not in own:
            yield f"a route of this machine, device {device}", route


def _routes() -> Iterator[tuple[str, ipaddress.IPv4Network]]:
    try:
        listed = subprocess.run(["ip", "-4", "route", "show"], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return
    for line in listed.stdout.splitlines():
        words = line.split()
        if words[0] == "default" or "dev" not in words:
            continue
        try:
            yield words[words.index("dev") + 1], ipaddress.IPv4Network(words[0])
        except ValueError:
            continue  # blackhole, unreachable and other kinds
