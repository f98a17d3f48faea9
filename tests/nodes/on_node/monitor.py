"""Print the state of Prometheus and Flower on a monitor as JSON. Runs on the node; standard library only.

monitor.py '{"name": own name, "units": [..], "hosts": [..], "workers": [..], "gateways": [..]}'
The last three are names of hosts.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar

os.environ["no_proxy"] = "*"  # no proxy reaches the hosts of the lab
QUESTION = json.loads(sys.argv[1])
PATIENCE = float(QUESTION.get("patience", 1))  # factor for time limits on slow hosts
CONTEXT = ssl.create_default_context(cafile="/etc/warren/pki/ca.pem")
PROMETHEUS = f"https://{QUESTION['name']}:9090/prometheus"
FLOWER = f"https://{QUESTION['name']}:5555/flower"
Found = TypeVar("Found")
SETTLE_S = 45 * PATIENCE  # several scrape intervals, for services that have just started


def get(url: str) -> str:
    """Body of GET."""
    with urllib.request.urlopen(url, timeout=10 * PATIENCE, context=CONTEXT) as answer:
        text: str = answer.read().decode()
        return text


def status_of(url: str, method: str = "POST") -> int:
    """Status of a request that the service should refuse."""
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, data=b"", method=method), timeout=10 * PATIENCE, context=CONTEXT
        ) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def has_queues(found: list[dict[str, Any]]) -> bool:
    """Whether the first and the last queue of mosaic have a figure; it is missing while a leader moves."""
    return {"mosaic.render", "mosaic.dead"} <= {series["queue"] for series in found}


def query(expression: str) -> list[dict[str, Any]]:
    """Result of an instant query: metric and value of each series."""
    found = json.loads(get(f"{PROMETHEUS}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"))
    return [{**series["metric"], "value": float(series["value"][1])} for series in found["data"]["result"]]


def until(ask: Callable[[], Found], complete: Callable[[Found], bool]) -> Found:
    """Call ask() until its result is complete, for at most SETTLE_S; returns the last result."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        found = ask()
        if complete(found) or time.monotonic() > deadline:
            return found
        time.sleep(1)


def targets() -> list[dict[str, str]]:
    """Job, instance, health and last error of each target."""
    return [
        {
            "job": target["labels"]["job"],
            "instance": target["labels"]["instance"],
            "health": target["health"],
            "error": target["lastError"],
        }
        for target in json.loads(get(f"{PROMETHEUS}/api/v1/targets?state=active"))["data"]["activeTargets"]
    ]


def all_scraped(found: list[dict[str, str]]) -> bool:
    """Whether every host has a target and no target is down; after its start Prometheus has none."""
    hosts = {target["instance"] for target in found}
    return hosts >= set(QUESTION["hosts"]) and all(target["health"] == "up" for target in found)


def rules() -> list[dict[str, str]]:
    """Name and health of each rule."""
    groups = json.loads(get(f"{PROMETHEUS}/api/v1/rules"))["data"]["groups"]
    return [{"name": rule["name"], "health": rule["health"]} for group in groups for rule in group["rules"]]


def workers_seen() -> list[str]:
    """Hosts of the workers that are online in Flower, by their heartbeats."""
    lines = [
        line for line in get(f"{FLOWER}/metrics").splitlines() if line.startswith("flower_worker_online")
    ]
    return sorted({line.partition("@")[2].partition('"')[0] for line in lines if line.endswith(" 1.0")})


def all_up(found: list[dict[str, Any]]) -> bool:
    """Whether there are series, each of value 1."""
    return bool(found) and all(series["value"] == 1.0 for series in found)


def serves_beside_idle_client(host: str, port: int) -> bool:
    """Whether the metrics are served while another client is connected and sends nothing."""
    with socket.create_connection((host, port), 5 * PATIENCE), contextlib.suppress(OSError):
        return "mosaic_ledger_up" in get(f"https://{host}:{port}/metrics")
    return False


def active(units: list[str]) -> dict[str, str]:
    """State of each unit."""
    done = subprocess.run(["systemctl", "is-active", *units], check=False, capture_output=True, text=True)
    return dict(zip(units, done.stdout.split(), strict=True))


def main() -> None:
    """Print the report."""
    report = {
        "units": active(QUESTION["units"]),
        "targets": until(targets, all_scraped),
        "rules": until(rules, lambda found: bool(found) and all(rule["health"] == "ok" for rule in found)),
        "workers": until(workers_seen, lambda found: set(QUESTION["workers"]) <= set(found)),
        "certificates": until(
            lambda: query('min by (instance) (lab_certificate_not_after_seconds{file="host.pem"} - time())'),
            lambda found: {series["instance"] for series in found} >= set(QUESTION["hosts"]),
        ),
        "queues": until(lambda: query("queue:messages:max"), has_queues),
        "ledger": until(lambda: query("mosaic_ledger_up"), all_up),
        "database": until(lambda: query("pg_up"), all_up),
        "beside_idle_client": {host: serves_beside_idle_client(host, 9464) for host in QUESTION["gateways"]},
        "refused": {
            "reload": status_of(f"{PROMETHEUS}/-/reload"),
            "quit": status_of(f"{PROMETHEUS}/-/quit"),
            "delete series": status_of(f"{PROMETHEUS}/api/v1/admin/tsdb/delete_series?match[]=up"),
            "publish a task": status_of(f"{FLOWER}/api/task/send-task/mosaic.probe"),
            "shut a worker down": status_of(f"{FLOWER}/api/worker/shutdown/render@worker-1"),
        },
    }
    print(json.dumps(report))


main()
