"""Asks every node for its state, and combines the answers into the state of the lab."""

import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from labctl.status.problems import Seen, consumed, problems
from labctl.substrates.base import distinct

PROGRAM = Path(__file__).with_name("node_status.py")
OWN = "mosaic"  # the first in lists
_VIEW_KEYS = ("members", "running", "partitions", "alarms")


def read(
    groups: Mapping[str, list[str]], states: Mapping[str, str], ask: Callable[[str, list[str]], str]
) -> dict[str, Any]:
    """The document of `status --json`; all nodes are asked at the same time.

    groups: host names by group. states: state of each host in the substrate; only running ones are asked.
    ask: stdout of PROGRAM on a host, given its groups as arguments; "" when there is no answer.
    """
    hosts = [host for host in distinct(groups) if states.get(host, "running") == "running"]
    own = [[group for group, members in groups.items() if host in members] for host in hosts]
    with ThreadPoolExecutor(max_workers=max(len(hosts), 1)) as pool:
        return assemble(groups, states, dict(zip(hosts, pool.map(ask, hosts, own), strict=True)))


def assemble(
    groups: Mapping[str, list[str]], substrate_states: Mapping[str, str], texts: Mapping[str, str]
) -> dict[str, Any]:
    """The document of `status --json` from the output of PROGRAM by host.

    A host of several groups is shown in the first. Text that is no JSON is no answer.
    """
    answers: dict[str, dict[str, Any]] = {}
    for host, text in texts.items():
        with suppress(ValueError):
            answers[host] = json.loads(text)
    nodes = []
    for host in distinct(groups):
        state = substrate_states.get(host, "")
        found = {"state": state if state in ("stopped", "missing") else "unreachable", "services": {}}
        found |= {key: answers[host][key] for key in found} if host in answers else {}
        nodes.append({"name": host, "group": next(g for g in groups if host in groups[g]), **found})
    brokers = groups.get("brokers", [])
    seen = Seen(
        groups=groups,
        answers=answers,
        nodes=nodes,
        cluster=_cluster([answers[host].get("cluster") for host in brokers if host in answers]),
        queues=next((answers[host]["queues"] for host in brokers if answers.get(host, {}).get("queues")), {}),
    )
    wrong = problems(seen)
    return {
        "healthy": not wrong,
        "problems": wrong,
        "nodes": seen.nodes,
        "cluster": seen.cluster,
        "workers": {host: consumed(answers.get(host, {})) for host in groups.get("workers", [])},
        "queues": seen.queues,
        "applications": applications(seen.nodes, answers, seen.queues),
        "alerts": _alerts(answers.get(host, {}) for host in groups.get("monitors", [])),
    }


def applications(
    nodes: Iterable[Mapping[str, Any]], answers: Mapping[str, Mapping[str, Any]], queues: Mapping[str, Any]
) -> dict[str, Any]:
    """Each application by its name, which is that of its vhost and of its units.

    `workers` and `beat` have the state of each unit, by the host; `consumes` has the queues that the workers
    of a host report to consume; `queues` has the keys of its queues in `queues`.
    """
    found: dict[str, dict[str, Any]] = {}
    for node in nodes:
        host = node["name"]
        for unit, state in node["services"].items():
            name, is_worker, worker = unit.partition("-worker@")
            is_beat = not is_worker and unit.endswith("-beat")
            if is_beat or (is_worker and worker != "*"):
                new: dict[str, Any] = {"workers": {}, "beat": {}, "consumes": {}, "queues": []}
                own = found.setdefault(name.removesuffix("-beat") if is_beat else name, new)
                own["beat" if is_beat else "workers"].setdefault(host, {})[unit] = state
        for unit, names in answers.get(host, {}).get("consuming", {}).items():
            application = unit.partition("-worker@")[0]
            if application in found:
                consumed_here = found[application]["consumes"].setdefault(host, [])
                consumed_here += [queue for queue in names if queue not in consumed_here]
    for key, queue in queues.items():
        if queue.get("vhost") in found:
            found[queue["vhost"]]["queues"].append(key)
    return dict(sorted(found.items(), key=lambda item: (item[0] != OWN, item[0])))


def _cluster(views: list[dict[str, Any] | None]) -> dict[str, Any]:
    """Union of what the brokers see, so that no problem is left out; `running`: what all agree on."""
    known = [view for view in views if view]
    distinct_views = {json.dumps([view[key] for key in _VIEW_KEYS]) for view in known}
    running = [set(view["running"]) for view in known]
    return {
        "members": sorted({member for view in known for member in view["members"]}),
        "running": sorted(set.intersection(*running)) if running else [],
        "partitions": sorted({tuple(pair) for view in known for pair in view["partitions"]}),
        "alarms": sorted({alarm for view in known for alarm in view["alarms"]}),
        "endangered": sorted({name for view in known for name in view["endangered"]}),
        "seen_alike_by_all": len(known) == len(views) and len(distinct_views) == 1,
    }


def _alerts(answers: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Firing alerts of all monitors, each once.

    An alert does not make the lab unhealthy: some, such as dead letters, wait for a person.
    """
    found = {tuple(sorted(alert.items())) for answer in answers for alert in answer.get("alerts", [])}
    return sorted((dict(alert) for alert in found), key=lambda alert: (alert["name"], alert["summary"]))
