"""The IPv4 routes of this machine that decide where packets to a lab's network go."""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

#: A route with a shorter prefix means "everything", as 0.0.0.0/1 and 128.0.0.0/1 of a VPN.
LEAST_PREFIX = 7
MAIN = "main"


@dataclass(frozen=True)
class Route:
    """A network and its device; `table`: of policy routing."""

    network: IPv4Network
    device: str
    table: str = MAIN

    @property
    def where(self) -> str:
        """For a message."""
        return f"device {self.device}" + ("" if self.table in (MAIN, "local") else f", table {self.table}")


def read() -> list[Route]:
    """The routes that a lab's network must not overlap; none where there is no program `ip`."""
    try:
        return list(relevant(_ip("route", "show", "table", "all"), _ip("rule", "show")))
    except (OSError, ValueError, subprocess.CalledProcessError):
        return []


def _ip(*words: str) -> list[dict[str, Any]]:
    done = subprocess.run(["ip", "-json", "-4", *words], check=True, capture_output=True, text=True)
    found: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return found


def relevant(listed: Sequence[Mapping[str, Any]], rules: Sequence[Mapping[str, Any]]) -> Iterator[Route]:
    """Routes of the tables that the kernel asks up to the main one.

    listed, rules: as `ip -json route show table all` and `ip -json rule show` print them. In the main table
    the longest prefix decides, so a lab's network is stronger than a default route. In a table before it, as
    Tailscale's 52, each route is stronger than a lab's network: there a default route takes every network,
    unless the table excludes local networks by routes of the type `throw`.
    """
    for table in _tables(rules):
        own = [item for item in listed if item.get("table", MAIN) == table]
        excludes = any(item.get("type") == "throw" for item in own)
        for item in own:
            network = _network(item)
            everything = network is not None and network.prefixlen < LEAST_PREFIX
            if network is None or (everything and (table == MAIN or excludes)):
                continue
            yield Route(network, str(item.get("dev", item.get("type", "unknown"))), table)


def _tables(rules: Sequence[Mapping[str, Any]]) -> list[str]:
    """Tables for unmarked packets of every program, in order, up to the main one."""
    found: list[str] = []
    for rule in sorted(rules, key=lambda rule: int(rule.get("priority", 0))):
        marked = "fwmark" in rule and "not" not in rule
        if marked or rule.get("src", "all") != "all" or rule.keys() & {"iif", "oif", "uid_start", "dport"}:
            continue
        table = str(rule.get("table", MAIN))
        found.append(table)
        if table == MAIN:  # its specific routes count also where suppress_prefixlength leaves out the default
            return found
    return [*found, MAIN]


def _network(item: Mapping[str, Any]) -> IPv4Network | None:
    if item.get("type") in ("throw", "broadcast", "multicast", "anycast"):
        return None
    with suppress(ValueError):
        destination = str(item["dst"])
        return IPv4Network("0.0.0.0/0" if destination == "default" else destination)
    return None
