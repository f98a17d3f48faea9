"""status: the picture put together from what the nodes say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from labctl.status import report

GROUPS = {
    "brokers": ["broker-1", "broker-2", "broker-3"],
    "workers": ["worker-1"],
    "gateways": ["gateway-1"],
    "databases": [],
    "monitors": [],
}
MEMBERS = GROUPS["brokers"]
QUEUES = {"mosaic.render": {"leader": "broker-2", "messages": 0}}


def view(**changes: Any) -> dict[str, Any]:
    return {
        "members": MEMBERS,
        "running": MEMBERS,
        "partitions": [],
        "alarms": [],
        "endangered": [],
    } | changes


def answers(**changes: Any) -> dict[str, Any]:
    """Answers of a healthy lab, by host; a keyword with _ for - replaces one, None removes it."""
    said: dict[str, Any] = {
        name: {"services": {"rabbitmq-server": "active"}, "cluster": view(), "queues": QUEUES}
        for name in MEMBERS
    }
    said["worker-1"] = {
        "services": {"haproxy": "active", "mosaic-worker@render": "active"},
        "consuming": {"render": ["mosaic.render"], "general": ["mosaic.scale", "mosaic.digest"]},
    }
    said["gateway-1"] = {"services": {"nginx": "active"}}
    for key, value in changes.items():
        said[key.replace("_", "-")] = value
    return {host: json.dumps(text) for host, text in said.items() if text is not None}


def test_a_healthy_lab_has_the_documented_shape() -> None:
    status = report.assemble(GROUPS, {}, answers())
    assert status == {
        "healthy": True,
        "nodes": [
            {
                "name": "broker-1",
                "group": "brokers",
                "state": "running",
                "services": {"rabbitmq-server": "active"},
            },
            {
                "name": "broker-2",
                "group": "brokers",
                "state": "running",
                "services": {"rabbitmq-server": "active"},
            },
            {
                "name": "broker-3",
                "group": "brokers",
                "state": "running",
                "services": {"rabbitmq-server": "active"},
            },
            {
                "name": "worker-1",
                "group": "workers",
                "state": "running",
                "services": {"haproxy": "active", "mosaic-worker@render": "active"},
            },
            {"name": "gateway-1", "group": "gateways", "state": "running", "services": {"nginx": "active"}},
        ],
        "cluster": {
            "members": MEMBERS,
            "running": MEMBERS,
            "partitions": [],
            "alarms": [],
            "endangered": [],
            "seen_alike_by_all": True,
        },
        "workers": {"worker-1": ["mosaic.digest", "mosaic.render", "mosaic.scale"]},
        "queues": QUEUES,
        "alerts": [],
    }
    assert report.complaints(status) == []


def test_alerts_of_all_monitors_are_told_once_and_are_no_complaint() -> None:
    alert = {"name": "DeadLetters", "severity": "warning", "summary": "3 messages are dead letters."}
    groups = GROUPS | {"monitors": ["monitor-1", "monitor-2"]}
    said = {"services": {"prometheus": "active"}, "alerts": [alert]}
    status = report.assemble(groups, {}, answers(monitor_1=said, monitor_2=said))
    assert status["alerts"] == [alert]
    assert status["healthy"]


def test_a_monitor_is_a_node_like_others() -> None:
    groups = GROUPS | {"monitors": ["monitor-1"]}
    status = report.assemble(groups, {}, answers(monitor_1={"services": {"prometheus": "failed"}}))
    assert not status["healthy"]
    assert report.complaints(status) == ["monitor-1: prometheus is failed."]


def test_a_host_of_two_groups_is_shown_once() -> None:
    groups = GROUPS | {"databases": ["gateway-1"]}
    nodes = report.assemble(groups, {}, answers())["nodes"]
    assert [node["name"] for node in nodes] == [*MEMBERS, "worker-1", "gateway-1"]
    assert nodes[-1]["group"] == "gateways"


def broker(**changes: Any) -> dict[str, Any]:
    return {"services": {"rabbitmq-server": "active"}, "cluster": view(**changes), "queues": QUEUES}


SICK = [
    ({"gateway_1": None}, "gateway-1 is unreachable."),
    ({"gateway_1": {"services": {"nginx": "failed"}}}, "gateway-1: nginx is failed."),
    (
        {"worker_1": {"services": {"haproxy": "active"}, "consuming": {"render": []}}},
        "worker-1 consumes no queue.",
    ),
    ({"broker_1": broker(alarms=["broker-1: memory"])}, "Resource alarm on broker-1: memory."),
    (
        {"broker_1": broker(endangered=["some.queue"])},
        "Not every copy is in step of some.queue; the brokers see to it within minutes.",
    ),
    (
        {"broker_1": broker(partitions=[["broker-1", "broker-2"]])},
        "The cluster is partitioned between broker-1 and broker-2.",
    ),
    (
        {"broker_3": broker(members=["broker-3"], running=["broker-3"])},
        "The brokers do not see the same cluster.",
    ),
    ({"broker_2": {"services": {"rabbitmq-server": "active"}}}, "The brokers do not see the same cluster."),
    (
        {f"broker_{n}": broker(running=["broker-1", "broker-2"]) for n in (1, 2, 3)},
        "The cluster misses broker-3.",
    ),
]


@pytest.mark.parametrize(("changes", "complaint"), SICK)
def test_each_illness_is_seen_and_said(changes: dict[str, Any], complaint: str) -> None:
    status = report.assemble(GROUPS, {}, answers(**changes))
    assert not status["healthy"]
    assert complaint in report.complaints(status)


@pytest.mark.parametrize("consumers", [0, 1, None])
def test_a_queue_that_nobody_consumes_though_somebody_says_so(consumers: int | None) -> None:
    queues = {"mosaic.render": {"leader": "broker-2", "messages": 5, "consumers": consumers}}
    status = report.assemble(GROUPS, {}, answers(broker_1=broker() | {"queues": queues}))
    assert status["healthy"] is (consumers != 0), "a queue of which nothing is known yet is not deserted"
    sentence = "worker-1 says that it consumes mosaic.render, and the brokers know no consumer of it."
    assert report.complaints(status) == ([] if status["healthy"] else [sentence])


def test_the_substrate_tells_stopped_from_unreachable() -> None:
    status = report.assemble(
        GROUPS, {"broker-1": "stopped", "worker-1": "running"}, answers(broker_1=None, worker_1=None)
    )
    states = {node["name"]: node["state"] for node in status["nodes"]}
    assert (states["broker-1"], states["worker-1"]) == ("stopped", "unreachable")
    assert not status["healthy"]


def test_an_answer_that_is_no_json_is_an_error_of_that_node() -> None:
    said = answers() | {"gateway-1": "Segmentation fault"}
    status = report.assemble(GROUPS, {}, said)
    assert not status["healthy"]
    assert "gateway-1: its answer is not JSON." in report.complaints(status)


def test_a_cluster_of_which_one_broker_is_gone_is_unhealthy_but_reported() -> None:
    less = view(running=["broker-1", "broker-3"])
    said = answers(broker_2=None)
    for name in ("broker-1", "broker-3"):
        said[name] = json.dumps(
            {"services": {"rabbitmq-server": "active"}, "cluster": less, "queues": QUEUES}
        )
    status = report.assemble(GROUPS, {"broker-2": "stopped"}, said)
    assert not status["healthy"]
    assert status["cluster"]["running"] == ["broker-1", "broker-3"]
    assert status["cluster"]["seen_alike_by_all"]
    assert status["queues"] == QUEUES
