#!/usr/bin/env python3
"""Prints as JSON how this node is: its services, a broker's view of the cluster, a monitor's firing alerts.

Arguments: the inventory groups of this node. Runs as root, with the standard library alone. An unanswered
question gives an `error` entry, never a failure: half a picture is better than none. TLS and HTTP are loaded
where they are needed: most nodes do without, and all of a lab may share this machine's cores.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

MONITOR = Path("/etc/warren/monitor.json")
TIMEOUT_S = 5
PROMETHEUS = Path("/etc/default/prometheus")  # its arguments, as the role monitoring wrote them
CA = "/etc/warren/pki/ca.pem"

# Units a node of the group must run; a pattern stands for all its instances, at least one.
REQUIRED = {
    "brokers": ["rabbitmq-server", "lab-broker-check"],
    "workers": ["haproxy", "mosaic-worker@*"],
    "gateways": ["haproxy", "mosaic-gateway", "mosaic-beat", "nginx"],
    "databases": ["postgresql@*-main"],
    "monitors": ["haproxy", "lab-flower", "prometheus"],
}
# Units that are reported where they are enabled: which hosts run them is the inventory's choice.
WHERE_ENABLED = [
    "mosaic-log-ship",
    "mosaic-log-store",
    "mosaic-metrics",
    "prometheus-node-exporter",
    "prometheus-postgres-exporter",
]


def show(patterns: list[str]) -> list[dict[str, str]]:
    """Properties of the loaded units that match."""
    properties = "--property=Id,LoadState,UnitFileState,ActiveState,StatusText"
    names = [f"{pattern}.service" for pattern in patterns]
    done = subprocess.run(
        ["systemctl", "show", properties, "--", *names],
        check=False,
        capture_output=True,
        text=True,
        timeout=20,
    )
    blocks = (block for block in done.stdout.split("\n\n") if block.strip())
    return [
        dict(line.split("=", 1) for line in block.strip().splitlines() if "=" in line) for block in blocks
    ]


def services(groups: list[str]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """State of each unit, and for each worker instance the queues it says it consumes."""
    required = list(dict.fromkeys(unit for group in groups for unit in REQUIRED.get(group, [])))
    states: dict[str, str] = {}
    consuming: dict[str, list[str]] = {}
    for unit in show(required + WHERE_ENABLED):
        name = unit.get("Id", "").removesuffix(".service")
        if not name or (name in WHERE_ENABLED and unit.get("UnitFileState") != "enabled"):
            continue
        missing = unit.get("LoadState") == "not-found"
        states[name] = "not-found" if missing else unit.get("ActiveState", "unknown")
        words = unit.get("StatusText", "").split()
        if name.startswith("mosaic-worker@"):
            ready = states[name] == "active" and words[:1] == ["consuming"]
            consuming[name.partition("@")[2]] = [word.strip(",") for word in words[1:]] if ready else []
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
    columns = "name,vhost,type,leader,node,members,online,messages,consumers"
    return {
        queue["name"]: {
            "vhost": queue.get("vhost", ""),
            "type": queue.get("type", ""),
            "leader": host_of(queue.get("leader") or queue.get("node") or ""),
            "members": sorted(map(host_of, queue.get("members") or [])),
            "online": sorted(map(host_of, queue.get("online") or [])),
            "messages": queue.get("messages", 0),
            "consumers": queue.get("consumers"),
        }
        for queue in api.get(f"queues?columns={columns}")
    }


def alerts() -> list[dict[str, str]]:
    """Name, severity and summary of each alert that fires, as Prometheus of this node has it."""
    import ssl
    import urllib.request

    arguments = dict(re.findall(r"--web\.([a-z-]+)=([^\s\"]+)", PROMETHEUS.read_text(encoding="utf-8")))
    url = f"https://{arguments['listen-address']}{arguments['route-prefix']}api/v1/alerts"
    context = ssl.create_default_context(cafile=CA)
    with urllib.request.urlopen(url, timeout=TIMEOUT_S, context=context) as answer:
        found = json.load(answer)["data"]["alerts"]
    return [
        {
            "name": alert["labels"]["alertname"],
            "severity": alert["labels"].get("severity", ""),
            "summary": alert["annotations"].get("summary", ""),
        }
        for alert in found
        if alert["state"] == "firing"
    ]


def main() -> None:
    groups = sys.argv[1:]
    states, consuming = services(groups)
    report: dict[str, Any] = {"services": states}
    if "workers" in groups:
        report["consuming"] = consuming
    if "brokers" in groups:
        try:
            api = Management(json.loads(MONITOR.read_text(encoding="utf-8")))
            report["cluster"] = cluster(api)
            report["queues"] = queues(api)
        except (OSError, ValueError, KeyError) as error:
            report["error"] = f"the broker's management API does not answer: {error}"
    if "monitors" in groups:
        try:
            report["alerts"] = alerts()
        except (OSError, ValueError, KeyError) as error:
            report["error"] = f"Prometheus does not answer: {error}"
    print(json.dumps(report))


if __name__ == "__main__":
    main()
