#!/usr/bin/env python3
"""Prints as JSON how this node is: its services, its proxy, a broker's view of the cluster, firing alerts.

Arguments: the inventory groups of this node. Runs as root, with the standard library alone. What does not
answer is under `unanswered`, by its condition (conditions.yml) and with the error: half a picture is better
than none. TLS and HTTP are loaded where they are needed: most nodes do without, and all of a lab may share
this machine's cores.
"""

import base64
import csv
import json
import re
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

MONITOR = Path("/etc/warren/monitor.json")
TIMEOUT_S = 5
PROMETHEUS = Path("/etc/default/prometheus")  # its arguments, as the role monitoring wrote them
CA = "/etc/warren/pki/ca.pem"
PROXY = "/run/haproxy/admin.sock"

# Units a node of the group must run; a pattern stands for all its instances, at least one.
REQUIRED = {
    "brokers": ["rabbitmq-server", "lab-broker-check"],
    "workers": ["haproxy", "mosaic-worker@*"],
    "gateways": ["haproxy", "mosaic-gateway", "nginx"],
    "databases": ["postgresql@*-main"],
    "monitors": ["haproxy", "lab-flower", "prometheus"],
}
# Units that are reported where they are enabled: which hosts run them is the inventory's choice.
WHERE_ENABLED = [
    "mosaic-beat",
    "mosaic-log-ship",
    "mosaic-log-store",
    "mosaic-metrics",
    "prometheus-node-exporter",
    "prometheus-postgres-exporter",
]


def run(*command: str) -> str:
    """Stdout of a command, whatever its exit status."""
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=20).stdout


def show(patterns: list[str]) -> list[dict[str, str]]:
    """Properties of the loaded units that match."""
    properties = "--property=Id,LoadState,UnitFileState,ActiveState,StatusText"
    blocks = run("systemctl", "show", properties, "--", *(f"{pattern}.service" for pattern in patterns))
    return [
        dict(line.split("=", 1) for line in block.strip().splitlines() if "=" in line)
        for block in blocks.split("\n\n")
        if block.strip()
    ]


def system() -> tuple[str, dict[str, str]]:
    """State of systemd as a whole, "running" too when units have failed, and those units."""
    state = run("systemctl", "is-system-running").strip()
    if state != "degraded":
        return state, {}
    lines = run("systemctl", "list-units", "--state=failed", "--plain", "--no-legend").splitlines()
    return "running", {line.split()[0].removesuffix(".service"): "failed" for line in lines}


def services(groups: list[str]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """State of each unit, and for each active one the queues that it says it consumes."""
    required = list(dict.fromkeys(unit for group in groups for unit in REQUIRED.get(group, [])))
    states: dict[str, str] = {}
    consuming: dict[str, list[str]] = {}
    for unit in show(required + WHERE_ENABLED):
        name = unit.get("Id", "").removesuffix(".service")
        if not name or (name in WHERE_ENABLED and unit.get("UnitFileState") != "enabled"):
            continue
        missing = unit.get("LoadState") == "not-found"
        states[name] = "not-found" if missing else unit.get("ActiveState", "unknown")
        first, _, named = unit.get("StatusText", "").partition(" ")
        if states[name] == "active" and first == "consuming":
            consuming[name] = named.split()
    for pattern in required:
        stem = pattern.partition("*")[0]
        if "*" in pattern and not any(name.startswith(stem) for name in states):
            states[pattern] = "not-found"
    return states, consuming


class Management:
    """The broker's management API on this node, with the monitor user's credentials."""

    def __init__(self, settings: dict[str, str]) -> None:
        self._url = settings["url"].rstrip("/")
        token = base64.b64encode(f"{settings['username']}:{settings['password']}".encode()).decode()
        self._headers = {"Authorization": f"Basic {token}"}
        import ssl

        self._context = ssl.create_default_context(cafile=settings["ca"])

    def get(self, path: str) -> Any:
        """Decoded answer to GET /api/<path>."""
        import urllib.request

        request = urllib.request.Request(f"{self._url}/api/{path}", headers=self._headers)  # noqa: S310 - https
        with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=self._context) as answer:  # noqa: S310
            return json.load(answer)


def host_of(node: str) -> str:
    """broker-1 of rabbit@broker-1."""
    return node.partition("@")[2] or node


def cluster(api: Management) -> dict[str, Any]:
    """Members, running members, partitions, alarms and endangered queues, as this broker sees them."""
    nodes = api.get("nodes?columns=name,running,partitions,mem_alarm,disk_free_alarm")
    alarms = [
        f"{host_of(node['name'])}: {label}"
        for node in nodes
        for key, label in (("mem_alarm", "memory"), ("disk_free_alarm", "disk"))
        if node.get(key)
    ]
    partitions = {
        tuple(sorted((host_of(node["name"]), host_of(other))))
        for node in nodes
        for other in node.get("partitions") or []
    }
    return {
        "members": sorted(host_of(node["name"]) for node in nodes),
        "running": sorted(host_of(node["name"]) for node in nodes if node.get("running")),
        "partitions": sorted(list(pair) for pair in partitions),
        "alarms": sorted(alarms),
        "endangered": endangered(api),
    }


def endangered(api: Management) -> list[str]:
    """Quorum queues with a copy here of which just a majority is in step: one more loss would stop them."""
    import urllib.error

    try:
        api.get("health/checks/node-is-quorum-critical")
    except urllib.error.HTTPError as error:
        if error.code != 503:
            raise
        return sorted(queue["name"] for queue in json.load(error)["queues"])
    return []


def queues(api: Management) -> dict[str, Any]:
    """Each queue with its leader, members and depth."""
    columns = "name,vhost,type,leader,node,members,online,messages"
    # Asked of the queues; in the list of queues the count of consumers is seconds old.
    consumers = Counter(consumer["queue"]["name"] for consumer in api.get("consumers?columns=queue.name"))
    return {
        queue["name"]: {
            "vhost": queue.get("vhost", ""),
            "type": queue.get("type", ""),
            "leader": host_of(queue.get("leader") or queue.get("node") or ""),
            "members": sorted(map(host_of, queue.get("members") or [])),
            "online": sorted(map(host_of, queue.get("online") or [])),
            "messages": queue.get("messages", 0),
            "consumers": consumers[queue["name"]],
        }
        for queue in api.get(f"queues?columns={columns}")
    }


def monitor() -> dict[str, Any]:
    """Name, severity and summary of each alert that fires, as Prometheus of this node has it."""
    import ssl
    import urllib.request

    arguments = dict(re.findall(r"--web\.([a-z-]+)=([^\s\"]+)", PROMETHEUS.read_text(encoding="utf-8")))
    url = f"https://{arguments['listen-address']}{arguments['route-prefix']}api/v1/alerts"
    context = ssl.create_default_context(cafile=CA)
    with urllib.request.urlopen(url, timeout=TIMEOUT_S, context=context) as answer:
        found = json.load(answer)["data"]["alerts"]
    firing = [
        {
            "name": alert["labels"]["alertname"],
            "severity": alert["labels"].get("severity", ""),
            "summary": alert["annotations"].get("summary", ""),
        }
        for alert in found
        if alert["state"] == "firing"
    ]
    return {"alerts": firing}


def broker() -> dict[str, Any]:
    """What this broker says of the cluster and its queues."""
    api = Management(json.loads(MONITOR.read_text(encoding="utf-8")))
    return {"cluster": cluster(api), "queues": queues(api)}


def proxy() -> dict[str, dict[str, str]]:
    """State of each broker as this host's proxy sees it: UP, DOWN or between them."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(TIMEOUT_S)
        channel.connect(PROXY)
        channel.sendall(b"show stat -1 4 -1\n")  # all proxies, objects of type 4 (servers), all of them
        text = b"".join(iter(lambda: channel.recv(65536), b"")).decode()
    rows = csv.DictReader(text.lstrip("# ").splitlines())
    return {"proxy": {row["svname"]: row["status"] for row in rows if row["pxname"] == "brokers"}}


def database() -> dict[str, Any]:
    """Nothing; raises OSError with what pg_isready says unless the server accepts connections."""
    said = run("pg_isready", f"--timeout={TIMEOUT_S}").partition(" - ")[2].strip()
    if said != "accepting connections":
        raise OSError(said or "pg_isready says nothing")
    return {}


def main() -> None:
    groups = sys.argv[1:]
    state, failed = system()
    states, consuming = services(groups)
    unanswered: dict[str, str] = {}
    report: dict[str, Any] = {"state": state, "services": failed | states, "consuming": consuming}

    def ask(condition: str, question: Callable[[], dict[str, Any]]) -> None:
        try:
            report.update(question())
        except (OSError, ValueError, KeyError) as error:
            unanswered[condition] = str(error)

    if "brokers" in groups:
        ask("BrokerDown", broker)
    if "databases" in groups:
        ask("DatabaseDown", database)
    if "monitors" in groups:
        ask("MonitorDown", monitor)
    if "haproxy" in states:
        ask("ProxyFindsNoBroker", proxy)
    print(json.dumps(report | {"unanswered": unanswered}))


if __name__ == "__main__":
    main()
