"""Networks of labs beside VPNs: recorded routes, and real ones in a network namespace."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from ipaddress import IPv4Network
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labctl.errors import UsageError
from labctl.machine import network, routes
from labctl.paths import ROOT, LabPaths
from labctl.topology import declaration

RULES: list[dict[str, Any]] = [
    {"priority": 0, "src": "all", "table": "local"},
    {"priority": 32766, "src": "all", "table": "main"},
    {"priority": 32767, "src": "all", "table": "default"},
]
TAILSCALE: list[dict[str, Any]] = [
    {"priority": 5210, "src": "all", "fwmark": "0x80000", "fwmask": "0xff0000", "table": "main"},
    {"priority": 5230, "src": "all", "fwmark": "0x80000", "fwmask": "0xff0000", "table": "default"},
    {"priority": 5270, "src": "all", "table": "52"},
]
WIREGUARD: list[dict[str, Any]] = [
    {"priority": 32764, "src": "all", "table": "main", "suppress_prefixlen": 0},
    {"priority": 32765, "not": None, "src": "all", "fwmark": "0xca6c", "table": "51820"},
]
HOME: list[dict[str, Any]] = [
    {"dst": "default", "gateway": "192.168.1.1", "dev": "eth0"},
    {"dst": "192.168.1.0/24", "dev": "eth0", "scope": "link"},
    {"type": "local", "dst": "192.168.1.7", "dev": "eth0", "table": "local"},
    {"type": "broadcast", "dst": "192.168.1.255", "dev": "eth0", "table": "local"},
]
#: What a VPN adds to the routes and rules of a home -> devices that the lab's network must not overlap.
VPNS: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]], set[str]]] = {
    "OpenVPN, redirect-gateway def1": (
        [{"dst": "0.0.0.0/1", "dev": "tun0"}, {"dst": "128.0.0.0/1", "dev": "tun0"}],
        [],
        {"eth0"},
    ),
    "OpenVPN with a company network": ([{"dst": "10.0.0.0/8", "dev": "tun0"}], [], {"eth0", "tun0"}),
    "wg-quick, all addresses": ([{"dst": "default", "dev": "wg0", "table": "51820"}], WIREGUARD, {"eth0"}),
    "Tailscale": (
        [{"dst": "100.100.1.2", "dev": "tailscale0", "table": "52"}],
        TAILSCALE,
        {"eth0", "tailscale0"},
    ),
    "Tailscale with the routes of a subnet": (
        [{"dst": "10.203.0.0/16", "dev": "tailscale0", "table": "52"}],
        TAILSCALE,
        {"eth0", "tailscale0"},
    ),
    "Tailscale with an exit node": (
        [{"dst": "default", "dev": "tailscale0", "table": "52"}],
        TAILSCALE,
        {"eth0", "tailscale0"},
    ),
    "Tailscale with an exit node and access to local networks": (
        [
            {"dst": "default", "dev": "tailscale0", "table": "52"},
            {"type": "throw", "dst": "192.168.1.0/24", "table": "52"},
        ],
        TAILSCALE,
        {"eth0"},
    ),
    "routes without a device": ([{"type": "blackhole", "dst": "10.203.0.0/24"}], [], {"eth0", "blackhole"}),
}


@pytest.mark.parametrize("name", VPNS)
def test_routes_that_win_over_a_lab_are_found(name: str) -> None:
    added, rules, devices = VPNS[name]
    assert {route.device for route in routes.relevant(HOME + added, RULES + rules)} == devices


def engine() -> Any:
    return SimpleNamespace(networks=SimpleNamespace(list=lambda **_: []))


def use(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    added, rules, _ = VPNS[name]
    monkeypatch.setattr(routes, "read", lambda: list(routes.relevant(HOME + added, RULES + rules)))


@pytest.mark.parametrize("lab", ["warren", "second"])
def test_half_default_routes_leave_every_network_free(
    lab: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, "OpenVPN, redirect-gateway def1")
    assert network.settle(LabPaths(lab, tmp_path), declaration.load(), engine()).network.startswith("10.203.")


def test_another_lab_leaves_out_what_a_vpn_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, "OpenVPN with a company network")
    found = network.settle(LabPaths("second", tmp_path), declaration.load(), engine()).network
    assert found == "172.29.0.0/24"


def test_the_default_lab_names_the_table_of_a_route(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, "Tailscale with the routes of a subnet")
    with pytest.raises(UsageError, match=r"overlaps 10\.203\.0\.0/16 .*device tailscale0, table 52"):
        network.settle(LabPaths("warren", tmp_path), declaration.load(), engine())


def test_a_vpn_that_takes_all_networks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, "Tailscale with an exit node")
    with pytest.raises(
        UsageError, match=r"No private network is free .*tailscale0, table 52.*; stop the VPN"
    ):
        network.settle(LabPaths("second", tmp_path), declaration.load(), engine())


def test_the_routes_of_the_labs_own_bridge_are_no_overlap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = [
        routes.Route(IPv4Network("10.203.0.0/24"), "br-1"),
        routes.Route(IPv4Network("10.203.0.1/32"), "br-1", "local"),
    ]
    monkeypatch.setattr(routes, "read", lambda: own)
    present = SimpleNamespace(name="warren", attrs={"IPAM": {"Config": [{"Subnet": "10.203.0.0/24"}]}})
    client: Any = SimpleNamespace(networks=SimpleNamespace(list=lambda **_: [present]))
    network.settle(LabPaths("warren", tmp_path), declaration.load(), client)


def test_networks_of_ipv6_and_without_a_subnet_do_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "read", list)
    config = [{"Subnet": "fd00::/64"}, {"Gateway": "fd00::1"}]
    other = SimpleNamespace(name="six", attrs={"IPAM": {"Config": config}})
    client: Any = SimpleNamespace(networks=SimpleNamespace(list=lambda **_: [other]))
    network.settle(LabPaths("second", tmp_path), declaration.load(), client)


def test_a_machine_without_ip_has_no_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/no/such/folder")
    assert routes.read() == []


def may_unshare() -> bool:
    return (
        bool(shutil.which("unshare"))
        and subprocess.run(["unshare", "-rn", "true"], check=False).returncode == 0
    )


@pytest.mark.skipif(not may_unshare(), reason="network namespaces are not allowed here")
def test_real_routes_and_rules_in_a_namespace() -> None:
    script = """
set -e
ip link set lo up
ip route add 0.0.0.0/1 dev lo
ip route add 128.0.0.0/1 dev lo
ip route add 10.203.0.0/16 dev lo
ip route add 172.29.0.0/24 dev lo table 52
ip rule add priority 5210 fwmark 0x80000/0xff0000 lookup main
ip rule add priority 5270 lookup 52
exec "$0" -c '
import json; from types import SimpleNamespace; from labctl.machine import network, routes
from labctl.paths import LabPaths
client = SimpleNamespace(networks=SimpleNamespace(list=lambda **_: []))
found = network.free(LabPaths("second"), "172.29.5.0/24", client)
print(json.dumps({"free": found, "tables": sorted({r.table for r in routes.read()})}))'
"""
    done = subprocess.run(
        ["unshare", "-rn", "sh", "-c", script, sys.executable],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert json.loads(done.stdout) == {"free": "10.204.0.0/24", "tables": ["52", "local", "main"]}
