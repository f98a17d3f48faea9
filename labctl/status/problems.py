"""What is wrong with a lab: the conditions of conditions.yml that hold, from the answers of the nodes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CONDITIONS: dict[str, dict[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("conditions.yml").read_text(encoding="utf-8")
)
_MOST_MEMBERS = 5  # of a quorum queue, however many brokers there are

Problem = dict[str, str]


@dataclass(frozen=True)
class Seen:
    """Hosts by group, answers of node_status.py by host, and parts of the document of `status --json`."""

    groups: Mapping[str, list[str]]
    answers: Mapping[str, Mapping[str, Any]]
    nodes: list[dict[str, Any]]
    cluster: Mapping[str, Any]
    queues: Mapping[str, Any]

    @property
    def missing(self) -> list[str]:
        """Brokers of the inventory, and other members, that some broker does not see running."""
        known = {*self.groups.get("brokers", []), *self.cluster["members"]}
        return sorted(known - set(self.cluster["running"]))


def problems(seen: Seen) -> list[Problem]:
    """Each with its `condition` and `sentence`; none when the lab is healthy."""
    return [problem for part in (_nodes, _cluster, _queues, _workers, _proxies) for problem in part(seen)]


def consumed(answer: Mapping[str, Any]) -> list[str]:
    """Queues that the units of a host report to consume."""
    return sorted({queue for queues in answer.get("consuming", {}).values() for queue in queues})


def _problem(condition: str, detail: str = "", **values: str) -> Problem:
    sentence = CONDITIONS[condition]["sentence"].format(**values)
    return {"condition": condition, "sentence": f"{sentence[:-1]} ({detail})." if detail else sentence}


def _nodes(seen: Seen) -> Iterator[Problem]:
    for node in seen.nodes:
        host = node["name"]
        if node["state"] != "running":
            yield _problem("HostNotRunning", host=host, state=node["state"])
        for unit, state in node["services"].items():
            if state != "active":
                yield _problem("UnitNotActive", host=host, unit=unit, state=state)
        for condition, error in seen.answers.get(host, {}).get("unanswered", {}).items():
            yield _problem(condition, error, host=host)


def _cluster(seen: Seen) -> Iterator[Problem]:
    if seen.missing:
        yield _problem("ClusterIncomplete", ", ".join(seen.missing))
    if seen.cluster["partitions"]:
        pairs = (" and ".join(pair) for pair in seen.cluster["partitions"])
        yield _problem("ClusterPartitioned", ", ".join(pairs))
    for alarm in seen.cluster["alarms"]:
        host, _, resource = alarm.partition(": ")
        yield _problem(f"{resource.title()}Alarm", host=host)


def _queues(seen: Seen) -> Iterator[Problem]:
    wanted = min(len(seen.groups.get("brokers", [])), _MOST_MEMBERS)
    offline = {
        name
        for name, queue in seen.queues.items()
        if queue["type"] == "quorum" and len(queue["online"]) < wanted
    }
    claimed = {
        _key(seen, unit, queue)
        for answer in seen.answers.values()
        for unit, queues in answer.get("consuming", {}).items()
        for queue in queues
    }
    found = {
        "QueueMembersMissing": offline,
        "QueueMembersBehind": set(seen.cluster["endangered"]) - offline,
        "QueueWithoutConsumer": {
            queue for queue in claimed if not (_is_consumed(seen, queue) or ".host." in queue)
        },
    }
    for condition, names in found.items():
        # When a broker is missing, each queue misses a member: that is reported already.
        if names and not (seen.missing and condition.startswith("QueueMembers")):
            yield _problem(condition, queue=", ".join(sorted(names)))


def _workers(seen: Seen) -> Iterator[Problem]:
    for host in seen.groups.get("workers", []):
        answer = seen.answers.get(host, {})
        consuming = answer.get("consuming", {})
        idle = [
            unit
            for unit, state in answer.get("services", {}).items()
            if "-worker@" in unit and state == "active" and unit not in consuming
        ]
        own = [
            _key(seen, unit, queue)
            for unit, queues in consuming.items()
            for queue in queues
            if queue.endswith(f".host.{host}")
        ]
        idle += [queue for queue in own if not _is_consumed(seen, queue)]
        if idle:
            yield _problem("WorkersNotConsuming", ", ".join(idle), host=host)


def _key(seen: Seen, unit: str, queue: str) -> str:
    """Key in `seen.queues` of a queue that a unit consumes: the application's name is that of its vhost."""
    qualified = f"{unit.partition('-')[0]}/{queue}"
    return qualified if qualified in seen.queues else queue


def _is_consumed(seen: Seen, queue: str) -> bool:
    """True when the brokers know a consumer of it, and when no broker answers."""
    return not seen.queues or bool(seen.queues.get(queue, {}).get("consumers"))


def _proxies(seen: Seen) -> Iterator[Problem]:
    brokers = set(seen.groups.get("brokers", []))
    for host, states in (
        (host, answer["proxy"]) for host, answer in seen.answers.items() if "proxy" in answer
    ):
        found = {broker for broker, state in states.items() if state.startswith("UP")}
        if not found:
            yield _problem("ProxyFindsNoBroker", host=host)
        elif brokers - found and not seen.missing:
            yield _problem("ProxyMissesBrokers", ", ".join(sorted(brokers - found)), host=host)
