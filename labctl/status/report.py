"""Puts together what the nodes say of themselves: one picture of the lab."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

_VIEW_KEYS = ("members", "running", "partitions", "alarms")


def assemble(
    groups: Mapping[str, list[str]], substrate_states: Mapping[str, str], answers: Mapping[str, str]
) -> dict[str, Any]:
    """The document of `status --json`.

    groups: host names by group, where a host of several groups is shown in the first; substrate_states:
    what the substrate says of a host; answers: JSON of node_status.py by host, for those
    that answered.
    """
    said = {host: _decode(text) for host, text in answers.items()}
    placed: dict[str, str] = {}
    for group, hosts in groups.items():
        for host in hosts:
            placed.setdefault(host, group)
    nodes = [
        _node(host, group, substrate_states.get(host, ""), said.get(host)) for host, group in placed.items()
    ]
    views = [said[host].get("cluster") for host in groups.get("brokers", []) if host in said]
    cluster = _cluster(views)
    workers = {
        host: sorted(
            {queue for queues in said.get(host, {}).get("consuming", {}).values() for queue in queues}
        )
        for host in groups.get("workers", [])
    }
    queues: dict[str, Any] = next(
        (said[host]["queues"] for host in groups.get("brokers", []) if said.get(host, {}).get("queues")), {}
    )
    healthy = (
        all(node["state"] == "running" and _all_active(node["services"]) for node in nodes)
        and cluster["seen_alike_by_all"]
        and cluster["running"] == sorted(groups.get("brokers", []))
        and not cluster["partitions"]
        and not cluster["alarms"]
        and not cluster["endangered"]
        and all(workers.values())
        and not _deserted(workers, queues)
    )
    return {
        "healthy": healthy,
        "nodes": nodes,
        "cluster": cluster,
        "workers": workers,
        "queues": queues,
        "alerts": _alerts(said.get(host, {}) for host in groups.get("monitors", [])),
    }


def complaints(status: Mapping[str, Any]) -> list[str]:
    """What keeps the lab from being healthy, one sentence each."""
    found: list[str] = []
    for node in status["nodes"]:
        if node["state"] != "running":
            found.append(f"{node['name']} is {node['state']}.")
        found += [
            f"{node['name']}: {service} is {state}."
            for service, state in node["services"].items()
            if state != "active"
        ]
        if node.get("error"):
            found.append(f"{node['name']}: {node['error']}.")
    cluster = status["cluster"]
    down = sorted(set(cluster["members"]) - set(cluster["running"]))
    if down:
        found.append(f"The cluster misses {', '.join(down)}.")
    if not cluster["seen_alike_by_all"]:
        found.append("The brokers do not see the same cluster.")
    if cluster["endangered"] and not down:
        found.append(
            f"Not every copy is in step of {', '.join(cluster['endangered'])};"
            " the brokers see to it within minutes."
        )
    found += [f"The cluster is partitioned between {' and '.join(pair)}." for pair in cluster["partitions"]]
    found += [f"Resource alarm on {alarm}." for alarm in cluster["alarms"]]
    found += [f"{host} consumes no queue." for host, queues in status["workers"].items() if not queues]
    found += [
        f"{host} says that it consumes {queue}, and the brokers know no consumer of it."
        for queue, host in _deserted(status["workers"], status["queues"]).items()
    ]
    return found


def _deserted(workers: Mapping[str, list[str]], queues: Mapping[str, Any]) -> dict[str, str]:
    """Queues without a consumer, and a host that claims to be one: it hangs, or began moments ago."""
    return {
        queue: host
        for host, claimed in workers.items()
        for queue in claimed
        if queue in queues and queues[queue].get("consumers") == 0
    }


def _node(host: str, group: str, substrate_state: str, said: dict[str, Any] | None) -> dict[str, Any]:
    if said is None:
        state = substrate_state if substrate_state in ("stopped", "missing") else "unreachable"
        return {"name": host, "group": group, "state": state, "services": {}}
    node = {"name": host, "group": group, "state": "running", "services": said.get("services", {})}
    return node | {"error": said["error"]} if "error" in said else node


def _cluster(views: list[dict[str, Any] | None]) -> dict[str, Any]:
    """Union of the brokers' views, so that what any of them fears is shown; running is what all agree on."""
    known = [view for view in views if view]
    alike = (
        bool(known)
        and len(known) == len(views)
        and all([view[key] for key in _VIEW_KEYS] == [known[0][key] for key in _VIEW_KEYS] for view in known)
    )
    running = [set(view["running"]) for view in known]
    return {
        "members": sorted({member for view in known for member in view["members"]}),
        "running": sorted(set.intersection(*running)) if running else [],
        "partitions": sorted({tuple(pair) for view in known for pair in view["partitions"]}),
        "alarms": sorted({alarm for view in known for alarm in view["alarms"]}),
        "endangered": sorted({name for view in known for name in view["endangered"]}),
        "seen_alike_by_all": alike,
    }


def _alerts(answers: Iterable[dict[str, Any]]) -> list[dict[str, str]]:
    """Firing alerts of all monitors, each once.

    They are shown and do not make a lab unhealthy: dead letters, say, are for a person to look at.
    """
    found = {tuple(sorted(alert.items())) for said in answers for alert in said.get("alerts", [])}
    return sorted((dict(alert) for alert in found), key=lambda alert: (alert["name"], alert["summary"]))


def _all_active(services: Mapping[str, str]) -> bool:
    return bool(services) and all(state == "active" for state in services.values())


def _decode(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    return content if isinstance(content, dict) else {"error": "its answer is not JSON"}
