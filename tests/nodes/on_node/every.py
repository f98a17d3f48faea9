"""Print the report of a node about itself and its connections to the other nodes as JSON.

Runs on the node; standard library only.

every.py '{"addresses": {name: address}, "ports": [..], "tls": [[name, port], ..], "logs": true}'
"""

from __future__ import annotations

import asyncio
import grp
import json
import os
import pwd
import re
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote

PATIENCE = float(json.loads(sys.argv[1]).get("patience", 1))  # factor for time limits on slow hosts
CONNECT_S = 2.0 * PATIENCE
CA = "/etc/warren/pki/ca.pem"
SECRET_FILES = (
    "etc/mosaic/*.toml",
    "etc/*/*.env",
    "etc/warren/monitor.json",
    "etc/warren/flower.json",
    "etc/warren/log-shipper.json",
    "etc/nginx/lab.d/*.conf",
    "etc/warren/pki/*.key",
    "etc/rabbitmq/definitions.json",
    "var/lib/rabbitmq/.erlang.cookie",
)
URLS = re.compile(r"://[^:/]+:([^@]+)@")
UNIT = re.compile(r"[^/\n]+\.service")
TEXTS = re.compile(r"(?:password|session_key)\"?\s*[=:]\s*(\"(?:[^\"\\]|\\.)+\")")


def output(*command: str) -> str:
    """What a command prints, whatever its exit status."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=20 * PATIENCE)
    return done.stdout.strip()


def names(expected: dict[str, str]) -> dict[str, list[str]]:
    """IPv4 and IPv6 addresses of each name."""
    found: dict[str, list[str]] = {}
    for name in expected:
        try:
            found[name] = sorted({str(entry[4][0]) for entry in socket.getaddrinfo(name, None)})
        except socket.gaierror:
            found[name] = []
    return found


def failed_units() -> dict[str, str]:
    """Units that failed or restart repeatedly, each with the end of its journal."""
    states = "--state=failed,auto-restart"
    lines = output("systemctl", "list-units", states, "--plain", "--no-legend", "--full").splitlines()
    units = [line.split()[0] for line in lines if line.strip()]
    return {
        unit: output("journalctl", "--no-pager", "--lines=30", "--output=cat", "-u", unit) for unit in units
    }


def listening() -> dict[str, list[int]]:
    """TCP ports in the state LISTEN: {"loopback": [..], "network": [..]}."""
    found: dict[str, set[int]] = {"loopback": set(), "network": set()}
    for table in ("tcp", "tcp6"):
        file = Path("/proc/net", table)
        for line in file.read_text().splitlines()[1:] if file.exists() else []:
            local, state = (line.split()[index] for index in (1, 3))
            address, port = local.split(":")
            if state != "0A":
                continue
            # Little-endian words: 127.x.x.x ends in 7F; ::1 has zeros except in the last word.
            looped = address.endswith("7F") if table == "tcp" else address == "0" * 24 + "01000000"
            found["loopback" if looped else "network"].add(int(port, 16))
    return {where: sorted(ports) for where, ports in found.items()}


def log_shipper() -> str:
    """What the log shipper reports. After a failure of its broker it uses another one within seconds."""
    deadline = time.monotonic() + 15 * PATIENCE
    while True:
        found = output("systemctl", "show", "--property=StatusText", "--value", "lab-log-shipper.service")
        if found.startswith("shipping") or time.monotonic() > deadline:
            return found
        time.sleep(0.5)


def log_files() -> dict[str, dict[str, int]]:
    """Log files that a unit has open, with their sizes in bytes: {unit: {path: size}}."""
    found: dict[str, dict[str, int]] = {}
    for opened in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            path = opened.readlink()
            if path.parts[:3] == ("/", "var", "log"):
                unit = UNIT.search((opened.parents[1] / "cgroup").read_text())
                found.setdefault(unit[0] if unit else "none", {})[str(path)] = opened.stat().st_size
        except OSError:  # the process has ended, or has closed the file
            continue
    return found


def ssh_port() -> int:
    """Port that the connection of this program came in by, from a process before sudo; 22 without SSH."""
    process = str(os.getppid())
    while process not in ("0", "1"):
        environment = b"\0" + Path("/proc", process, "environ").read_bytes()
        found = re.search(rb"\0SSH_CONNECTION=\S+ \S+ \S+ (\d+)\0", environment)
        if found:
            return int(found[1])
        process = Path("/proc", process, "stat").read_text().rpartition(")")[2].split()[1]
    return 22


def secret_files() -> dict[str, dict[str, str]]:
    """Mode, owner and group of each file that holds a secret."""
    found = {}
    for pattern in SECRET_FILES:
        for file in Path("/").glob(pattern):
            status = file.stat()
            found[str(file)] = {
                "mode": f"{status.st_mode & 0o7777:04o}",
                "owner": pwd.getpwuid(status.st_uid).pw_name,
                "group": grp.getgrgid(status.st_gid).gr_name,
            }
    return found


def processes_that_show_a_secret() -> list[str]:
    """Programs whose arguments, which every user can read, contain one of this node's secrets."""
    secrets: set[str] = set()
    for pattern in SECRET_FILES:
        for file in Path("/").glob(pattern):
            text = file.read_text()
            encoded = set(URLS.findall(text))
            secrets |= encoded | {unquote(found) for found in encoded}
            secrets |= {json.loads(found, strict=False) for found in TEXTS.findall(text)}
            secrets |= {text.strip("\n")} if file.name == ".erlang.cookie" else set()
    shown = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = file.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if any(secret in arguments for secret in secrets):
            shown.append(arguments.partition("\0")[0])
    return shown


async def is_open(address: str, port: int) -> bool:
    """Whether a TCP connection is accepted."""
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), CONNECT_S)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def certificate(name: str, port: int) -> dict[str, Any]:
    """Result of verifying the peer's certificate with the lab's CA: {"error"} or {"days", "version"}."""
    context = ssl.create_default_context(cafile=CA)
    try:
        _, writer = await asyncio.wait_for(
            asyncio.open_connection(name, port, ssl=context, server_hostname=name), 2 * CONNECT_S
        )
    except (OSError, TimeoutError) as error:
        return {"error": str(error) or type(error).__name__}
    session = writer.get_extra_info("ssl_object")
    end = ssl.cert_time_to_seconds(session.getpeercert()["notAfter"])
    writer.close()
    return {"days": (end - time.time()) / 86400, "version": session.version()}


async def network(wanted: dict[str, Any]) -> dict[str, Any]:
    """Open ports of every node and certificates of the named services; all connections run concurrently."""
    targets = [
        (name, address, port) for name, address in wanted["addresses"].items() for port in wanted["ports"]
    ]
    opened, certificates = await asyncio.gather(
        asyncio.gather(*(is_open(address, port) for _, address, port in targets)),
        asyncio.gather(*(certificate(name, port) for name, port in wanted["tls"])),
    )
    reach: dict[str, list[int]] = {name: [] for name in wanted["addresses"]}
    for (name, _, port), is_reachable in zip(targets, opened, strict=True):
        reach[name] += [port] if is_reachable else []
    shown = {f"{name}:{port}": found for (name, port), found in zip(wanted["tls"], certificates, strict=True)}
    return {"reach": reach, "certificates": shown}


def main() -> None:
    """Print the report."""
    wanted = json.loads(sys.argv[1])
    report = {
        "names": names(wanted["addresses"]),
        "failed_units": failed_units(),
        "state": output("systemctl", "is-system-running"),
        "firewall": output("systemctl", "is-active", "lab-firewall.service"),
        "rules": output("nft", "list", "chain", "inet", "lab", "input"),
        "listening": listening(),
        "log_files": log_files(),
        "log_shipper": log_shipper() if wanted["logs"] else "",
        "ssh_port": ssh_port(),
        "secret_files": secret_files(),
        "secrets_in_process_list": processes_that_show_a_secret(),
        **asyncio.run(network(wanted)),
        "time": time.time(),
    }
    print(json.dumps(report))


main()
