#!/usr/bin/env python3
"""Prints the state of this node as JSON: its services, its proxy, a broker's view of the cluster, alerts.

Arguments: the inventory groups of this node. Runs as root, with the standard library alone. What does not
answer is in `unanswered`, by its condition (conditions.yml) and with the error. TLS and HTTP are imported
where they are needed: most nodes need neither, and all nodes of a lab may share this machine's cores.
"""

import base64
import csv
import fnmatch
import json
import os
import re
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

MONITOR = Path("/etc/warren/monitor.json")
TIMEOUT_S = 5
PROMETHEUS = Path("/etc/default/prometheus")  # its arguments, from the role monitoring
CA = "/etc/warren/pki/ca.pem"
PROXY = "/run/haproxy/admin.sock"
# The role celery_worker writes NAME/worker-INSTANCE.env for each worker of this node.
CONFIGURATION = Path("/etc")

# Units that a node of the group must run; a pattern means all its instances, at least one.
REQUIRED = {
    "brokers": ["rabbitmq-server", "lab-broker-check"],
    "workers": ["haproxy", "*-worker@*"],
    "gateways": ["haproxy", "mosaic-gateway", "nginx"],
    "databases": ["postgresql@*-main"],
    "monitors": ["haproxy", "lab-flower", "prometheus"],
}
# Units that are reported where they are enabled: the inventory chooses the hosts that run them.
WHERE_ENABLED = [
    "*-beat",
    "lab-log-shipper",
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
    """State of systemd, also "running" when units have failed, and those units."""
    state = run("systemctl", "is-system-running").strip()
    if state != "degraded":
        return state, {}
    lines = run("systemctl", "list-units", "--state=failed", "--plain", "--no-legend").splitlines()
    return "running", {line.split()[0].removesuffix(".service"): "failed" for line in lines}


def declared_workers() -> list[str]:
    """Units of the workers that the role declared on this node, of all applications."""
    return sorted(
        f"{file.parent.name}-worker@{file.stem.removeprefix('worker-')}"
        for file in CONFIGURATION.glob("*/worker-*.env")
        if installed(file.parent.name)
    )


def installed(application: str) -> bool:
    """Whether the lab installed an application: its roles write the settings of all its units."""
    return (CONFIGURATION / f"systemd/system/{application}-.service.d/lab.conf").exists()


def of_others(unit: str) -> bool:
    """Whether a unit is a worker or beat of an application that the lab did not install."""
    application, found, _ = unit.partition("-worker@")
    if not found and not application.endswith("-beat"):
        return False
    return not installed(application.removesuffix("-beat"))


def services(groups: list[str]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """State of each unit, and for each active one the queues that it reports to consume."""
    required = list(dict.fromkeys(unit for group in groups for unit in REQUIRED.get(group, [])))
    if "workers" in groups:
        required += declared_workers()
    states: dict[str, str] = {}
    consuming: dict[str, list[str]] = {}
    for unit in show(required + WHERE_ENABLED):
        name = unit.get("Id", "").removesuffix(".service")
        optional = any(fnmatch.fnmatchcase(name, pattern) for pattern in WHERE_ENABLED)
        if not name or of_others(name) or (optional and unit.get("UnitFileState") != "enabled"):
            continue
        missing = unit.get("LoadState") == "not-found"
        states[name] = "not-found" if missing else unit.get("ActiveState", "unknown")
        first, _, named = unit.get("StatusText", "").partition(" ")
        if states[name] == "active" and first == "consuming":
            consuming[name] = named.split()
    for pattern in required:
        if "*" in pattern and not fnmatch.filter(states, pattern):
            states[pattern] = "not-found"
    return states, consuming


def fetch(url: str, ca: str, headers: dict[str, str] | None = None) -> Any:
    """The decoded JSON answer of a server with a certificate of this CA."""
    import ssl
    import urllib.request

    context = ssl.create_default_context(cafile=ca)
    request = urllib.request.Request(url, headers=headers or {})  # noqa: S310 - https
    with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=context) as answer:  # noqa: S310
        return json.load(answer)


class Management:
    """The broker's management API on this node, with the monitor user's credentials."""

    def __init__(self, settings: dict[str, str]) -> None:
        self._settings = settings
        token = base64.b64encode(f"{settings['username']}:{settings['password']}".encode()).decode()
        self._headers = {"Authorization": f"Basic {token}"}

    def get(self, path: str) -> Any:
        """Decoded answer to GET /api/<path>."""
        return fetch(f"{self._settings['url'].rstrip('/')}/api/{path}", self._settings["ca"], self._headers)


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
    """Quorum queues on this node with no more than a majority of members: one more loss would stop them."""
    import urllib.error

    try:
        api.get("health/checks/node-is-quorum-critical")
    except urllib.error.HTTPError as error:
        if error.code != 503:
            raise
        return sorted(queue["name"] for queue in json.load(error)["queues"])
    return []


def queues(api: Management, running: set[str]) -> dict[str, Any]:
    """Each queue with its leader, members (those on `running` brokers are online) and depth.

    Its key is its name, or VHOST/NAME when several vhosts have a queue of this name.
    """
    # The list's own `online` can lack a member that is back, for minutes after an election, and its counts of
    # consumers are seconds old.
    columns = "name,vhost,type,leader,node,members,messages"
    found = api.get(f"queues?columns={columns}")
    names = Counter(queue["name"] for queue in found)
    consumers = Counter(
        (consumer["queue"].get("vhost", ""), consumer["queue"]["name"])
        for consumer in api.get("consumers?columns=queue.name,queue.vhost")
    )
    return {
        queue["name"] if names[queue["name"]] == 1 else f"{queue['vhost']}/{queue['name']}": {
            "vhost": queue.get("vhost", ""),
            "type": queue.get("type", ""),
            "leader": host_of(queue.get("leader") or queue.get("node") or ""),
            "members": sorted(map(host_of, queue.get("members") or [])),
            "online": sorted(running & set(map(host_of, queue.get("members") or []))),
            "messages": queue.get("messages", 0),
            "consumers": consumers[queue.get("vhost", ""), queue["name"]],
        }
        for queue in found
    }


def monitor() -> dict[str, Any]:
    """Name, severity and summary of each firing alert of this node's Prometheus."""
    arguments = dict(re.findall(r"--web\.([a-z-]+)=([^\s\"]+)", PROMETHEUS.read_text(encoding="utf-8")))
    url = f"https://{arguments['listen-address']}{arguments['route-prefix']}api/v1/alerts"
    firing = [
        {
            "name": alert["labels"]["alertname"],
            "severity": alert["labels"].get("severity", ""),
            "summary": alert["annotations"].get("summary", ""),
        }
        for alert in fetch(url, CA)["data"]["alerts"]
        if alert["state"] == "firing"
    ]
    return {"alerts": firing}


def broker() -> dict[str, Any]:
    """This broker's view of the cluster and its queues."""
    api = Management(json.loads(MONITOR.read_text(encoding="utf-8")))
    seen = cluster(api)
    return {"cluster": seen, "queues": queues(api, set(seen["running"]))}


def proxy() -> dict[str, dict[str, str]]:
    """State of each broker in this host's proxy: UP, DOWN or between them."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(TIMEOUT_S)
        channel.connect(PROXY)
        channel.sendall(b"show stat -1 4 -1\n")  # all proxies, objects of type 4 (servers), all of them
        text = b"".join(iter(lambda: channel.recv(65536), b"")).decode()
    rows = csv.DictReader(text.lstrip("# ").splitlines())
    return {"proxy": {row["svname"]: row["status"] for row in rows if row["pxname"] == "brokers"}}


def database() -> dict[str, Any]:
    """Nothing; raises OSError with the answer of pg_isready unless the server accepts connections."""
    answer = run("pg_isready", f"--timeout={TIMEOUT_S}").partition(" - ")[2].strip()
    if answer != "accepting connections":
        raise OSError(answer or "pg_isready printed nothing")
    return {}


def main() -> None:
    os.environ["no_proxy"] = "*"  # no proxy reaches the hosts of the lab
    groups = sys.argv[1:]
    state, failed = system()
    states, consuming = services(groups)
    unanswered: dict[str, str] = {}
    report: dict[str, Any] = {"state": state, "services": failed | states, "consuming": consuming}

    for present, condition, question in (
        ("brokers" in groups, "BrokerDown", broker),
        ("databases" in groups, "DatabaseDown", database),
        ("monitors" in groups, "MonitorDown", monitor),
        ("haproxy" in states, "ProxyFindsNoBroker", proxy),
    ):
        try:
            report.update(question() if present else {})
        except (OSError, ValueError, KeyError) as error:
            unanswered[condition] = str(error)
    print(json.dumps(report | {"unanswered": unanswered}))


if __name__ == "__main__":
    main()
