"""Whether a Docker engine can run the nodes of a lab: from its own answers, before anything is touched."""

import os
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from labctl.errors import UsageError

_HERE = {"", "localhost", "127.0.0.1", "::1"}
_ELSE = "use this machine's own engine (`docker context use default`), or VMs (docs/how-to/vagrant.md)."
# Measured with engine 20.10: systemd ends at once when its user is mapped. With `--userns=host` it boots, but
# every file of the image belongs to the mapped user, so that sudo and PostgreSQL refuse to work.
_MAPPED = {
    "name=rootless": f"runs without root, so systemd in a node cannot write its control groups; {_ELSE}",
    "name=userns": "maps root in a container to another user (userns-remap), so systemd in a node cannot"
    " write its control groups; remove userns-remap from /etc/docker/daemon.json and run `systemctl restart"
    f" docker` as root, or {_ELSE}",
}
# What dockerd and iptables print, with cause and remedy.
_FIREWALL = {
    r"Failed to initialize nft|Protocol not supported": "the kernel has no nf_tables, which the program"
    " iptables needs here: run `update-alternatives --set iptables /usr/sbin/iptables-legacy` as root",
    r"ZONE_CONFLICT|INVALID_ZONE": "firewalld has Docker's network in another zone: run `firewall-cmd"
    " --permanent --zone=docker --change-interface=docker0` and `firewall-cmd --reload` as root",
    r"Table does not exist|insmod|Module \S+ not found": "the kernel's modules of iptables are missing: start"
    " this machine again if its kernel was updated, or install them",
    r"No chain/target/match by that name|does a matching rule exist|Chain '\S+' does not exist": "a firewall"
    " manager (nftables, firewalld, ufw) removed the rules of Docker: run `systemctl restart docker` as root",
}


def require_here(host: str) -> None:
    """Raise UsageError when the engine at `host` (as DOCKER_HOST) is on another machine."""
    address = urlsplit(host)
    if address.scheme == "ssh" or (address.hostname or "") not in _HERE:
        raise UsageError(
            f"The Docker engine at {host} is on another machine, but the console of a lab and its other ports"
            f" are published on 127.0.0.1: run ./lab there, or {_ELSE}"
        )


def require(host: str, info: Mapping[str, Any]) -> None:
    """Raise UsageError when this engine cannot run nodes; info: what it says of itself, as `docker info`."""
    for option in info.get("SecurityOptions") or []:
        name = str(option).partition(",")[0]
        if name in _MAPPED:
            raise UsageError(f"The Docker engine at {host} {_MAPPED[name]}")


def is_in_a_vm(info: Mapping[str, Any]) -> bool:
    """Whether the engine runs on another kernel than this program, as Docker Desktop's does."""
    return bool(info.get("KernelVersion", os.uname().release) != os.uname().release)


def firewall(text: str) -> str:
    """Cause and remedy when the engine's message is about the firewall of this machine, else ""."""
    return next((what for pattern, what in _FIREWALL.items() if re.search(pattern, text)), "")
