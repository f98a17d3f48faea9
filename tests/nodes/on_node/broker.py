"""Print the report of a broker about its cluster as JSON. Runs on the broker; standard library only.

broker.py '{"peers": [name, ..], "definitions": bool}'
"""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["no_proxy"] = "*"  # no proxy reaches the hosts of the lab
PATIENCE = float(json.loads(sys.argv[1]).get("patience", 1))  # factor for time limits on slow hosts
TIMEOUT_S = 10 * PATIENCE
# Brokers exchange details of new queues and consumers every 5 s.
STATISTICS_S = 15 * PATIENCE
MONITOR = json.loads(Path("/etc/warren/monitor.json").read_text())
PKI = Path("/etc/warren/pki")
QUEUE_COLUMNS = "name,vhost,type,members,leader,policy,effective_policy_definition,messages,consumers"
CONSUMER_COLUMNS = "queue.name,channel_details.peer_host,ack_required"


def request(
    path: str, user: str = MONITOR["username"], password: str = MONITOR["password"]
) -> tuple[int, Any]:
    """Status and decoded body of GET /api/<path>; a failed health check has status 503 and a body."""
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    wanted = urllib.request.Request(
        f"{MONITOR['url']}/api/{path}", headers={"Authorization": f"Basic {token}"}
    )
    context = ssl.create_default_context(cafile=MONITOR["ca"])
    try:
        with urllib.request.urlopen(wanted, timeout=TIMEOUT_S, context=context) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error) if error.code == 503 else None


def get(path: str) -> Any:
    """Decoded body of GET /api/<path>; raises RuntimeError for another status than 200 or 503."""
    status, body = request(path)
    if status not in (200, 503):  # a failed health check has status 503
        raise RuntimeError(f"/api/{path} answers {status}")
    return body


def distribution_tls(peer: str) -> str:
    """TLS version of the Erlang distribution of another broker, or the error."""
    context = ssl.create_default_context(cafile=PKI / "ca.pem")
    context.load_cert_chain(PKI / "host.pem", PKI / "host.key")
    try:
        with (
            socket.create_connection((peer, 25672), TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=peer) as secured,
        ):
            return str(secured.version())
    except OSError as error:
        return f"no TLS: {error}"


def known(path: str, complete: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """A list from the API; repeats the request until every entry is complete, for at most STATISTICS_S."""
    deadline = time.monotonic() + STATISTICS_S
    while True:
        found: list[dict[str, Any]] = get(path)
        if all(map(complete, found)) or time.monotonic() > deadline:
            return found
        time.sleep(0.5)


def queues() -> list[dict[str, Any]]:
    """Every queue with its members and its policy."""
    columns = {"messages", "effective_policy_definition"}
    return known(f"queues?columns={QUEUE_COLUMNS}", lambda queue: columns <= queue.keys())


def critical_queues() -> list[str]:
    """Queues of which only a majority of members follows the leader, if that lasts for STATISTICS_S."""
    deadline = time.monotonic() + STATISTICS_S
    while True:
        found = [queue["name"] for queue in get("health/checks/node-is-quorum-critical").get("queues", [])]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.5)


def consumers() -> list[dict[str, Any]]:
    """Queue, peer address ("" while the broker does not know it) and acknowledgements of each consumer."""
    return [
        {
            "queue": consumer["queue"]["name"],
            "peer": dict(consumer["channel_details"]).get("peer_host", ""),
            "acknowledges": consumer["ack_required"],
        }
        for consumer in known(
            f"consumers?columns={CONSUMER_COLUMNS}", lambda consumer: bool(consumer["channel_details"])
        )
    ]


def definitions() -> dict[str, Any]:
    """Users (name, tags), permissions, vhosts and policies of the cluster."""
    done = subprocess.run(
        ["rabbitmqctl", "--quiet", "export_definitions", "-"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60 * PATIENCE,
    )
    if done.returncode != 0:
        raise RuntimeError(
            f"rabbitmqctl export_definitions ended with {done.returncode}: {done.stderr.strip()}"
        )
    found: dict[str, Any] = json.loads(done.stdout)
    for user in found["users"]:
        del user["password_hash"]
    return {key: found[key] for key in ("users", "vhosts", "permissions", "policies")}


def check() -> str:
    """Line that the health check of the broker sends to a proxy."""
    config = json.loads(Path("/etc/warren/broker-check.json").read_text(encoding="utf-8"))
    trust = ssl.create_default_context(cafile=f"{config['tls']}/ca.pem")
    address = (config["address"], config["port"])
    with (
        socket.create_connection(address, timeout=5 * PATIENCE) as plain,
        trust.wrap_socket(plain, server_hostname=config["address"]) as channel,
    ):
        return channel.recv(200).decode().strip()


def main() -> None:
    """Print the report."""
    wanted = json.loads(sys.argv[1])
    overview = get("overview")
    report = {
        "nodes": get("nodes?columns=name,running,partitions,mem_alarm,disk_free_alarm"),
        "versions": [overview["rabbitmq_version"], overview["erlang_version"]],
        "protocols": sorted({listener["protocol"] for listener in overview["listeners"]}),
        "alarms_status": request("health/checks/alarms")[0],
        "queues": queues(),
        "critical_queues": critical_queues(),
        "consumers": consumers(),
        "deprecated": request("deprecated-features/used")[1],
        "guest_status": request("whoami", "guest", "guest")[0],
        "monitor_sees_users": request("users")[0],
        "distribution": {peer: distribution_tls(peer) for peer in wanted["peers"]},
        "feature_flags": {flag["name"]: flag["state"] for flag in get("feature-flags")},
        "check": check(),
        "definitions": definitions() if wanted["definitions"] else None,
    }
    print(json.dumps(report))


main()
