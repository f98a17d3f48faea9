"""status: the picture put together from what the nodes say, and what is wrong with the lab."""

from __future__ import annotations

import json
from typing import Any

import pytest

from labctl.status import report
from labctl.status.problems import CONDITIONS

GROUPS = {
    "brokers": ["broker-1", "broker-2", "broker-3"],
    "workers": ["worker-1"],
    "gateways": ["gateway-1"],
    "databases": [],
    "monitors": [],
}
MEMBERS = GROUPS["brokers"]
PROXY = dict.fromkeys(MEMBERS, "UP")


def queue(online: list[str] = MEMBERS, consumers: int = 1) -> dict[str, Any]:
    return {"type": "quorum", "leader": "broker-2", "online": online, "messages": 0, "consumers": consumers}


QUEUES = {name: queue() for name in ("mosaic.render", "mosaic.scale", "mosaic.host.worker-1")}


def view(**changes: Any) -> dict[str, Any]:
    return {
        "members": MEMBERS,
        "running": MEMBERS,
        "partitions": [],
        "alarms": [],
        "endangered": [],
    } | changes


def answer(*active: str, **more: Any) -> dict[str, Any]:
    return {"state": "running", "services": dict.fromkeys(active, "active"), "unanswered": {}} | more


def broker(queues: dict[str, Any] = QUEUES, **changes: Any) -> dict[str, Any]:
    return answer("rabbitmq-server", cluster=view(**changes), queues=queues)


def worker(**more: Any) -> dict[str, Any]:
    units = ("mosaic-worker@render", "mosaic-worker@general")
    consuming = {units[0]: ["mosaic.render"], units[1]: ["mosaic.scale", "mosaic.host.worker-1"]}
    return answer("haproxy", *units, consuming=consuming, proxy=PROXY) | more


def answers(**changes: Any) -> dict[str, Any]:
    """Answers of a healthy lab, by host; a keyword with _ for - replaces one, None removes it."""
    found: dict[str, Any] = {name: broker() for name in MEMBERS}
    found["worker-1"] = worker()
    found["gateway-1"] = answer("nginx", proxy=PROXY)
    for key, value in changes.items():
        found[key.replace("_", "-")] = value
    return {host: json.dumps(text) for host, text in found.items() if text is not None}


def test_a_healthy_lab_has_the_documented_shape() -> None:
    status = report.assemble(GROUPS, {}, answers())
    units = ["haproxy", "mosaic-worker@render", "mosaic-worker@general"]
    services = {
        **dict.fromkeys(MEMBERS, ("brokers", ["rabbitmq-server"])),
        "worker-1": ("workers", units),
        "gateway-1": ("gateways", ["nginx"]),
    }
    assert status == {
        "healthy": True,
        "problems": [],
        "nodes": [
            {"name": name, "group": group, "state": "running", "services": dict.fromkeys(active, "active")}
            for name, (group, active) in services.items()
        ],
        "cluster": {
            "members": MEMBERS,
            "running": MEMBERS,
            "partitions": [],
            "alarms": [],
            "endangered": [],
            "seen_alike_by_all": True,
        },
        "workers": {"worker-1": ["mosaic.host.worker-1", "mosaic.render", "mosaic.scale"]},
        "queues": QUEUES,
        "applications": {
            "mosaic": {
                "workers": {"worker-1": dict.fromkeys(units[1:], "active")},
                "beat": {},
                "consumes": {"worker-1": status["applications"]["mosaic"]["consumes"]["worker-1"]},
                "queues": [],
            }
        },
        "alerts": [],
    }


def test_each_application_has_its_workers_beat_and_queues() -> None:
    units = {"shop-worker@default": ["celery"], "mosaic-worker@render": ["mosaic.render"]}
    worker = answer("haproxy", *units, "blog-worker@mail", consuming=units, proxy=PROXY)
    worker["services"]["blog-worker@mail"] = "failed"
    gateway = answer("nginx", "shop-beat")
    queues = {"celery": {**queue(), "vhost": "shop"}, "mosaic.render": {**queue(), "vhost": "mosaic"}}
    brokers = {name.replace("-", "_"): broker(queues) for name in MEMBERS}
    status = report.assemble(GROUPS, {}, answers(worker_1=worker, gateway_1=gateway, **brokers))
    found = status["applications"]
    assert list(found) == ["mosaic", "blog", "shop"]
    assert found["shop"] == {
        "workers": {"worker-1": {"shop-worker@default": "active"}},
        "beat": {"gateway-1": {"shop-beat": "active"}},
        "consumes": {"worker-1": ["celery"]},
        "queues": ["celery"],
    }
    assert found["blog"]["workers"] == {"worker-1": {"blog-worker@mail": "failed"}}
    assert [problem["sentence"] for problem in status["problems"]] == [
        "blog-worker@mail on worker-1 is failed."
    ]


def test_a_queue_is_that_of_the_vhost_of_its_worker() -> None:
    """Two applications consume queues of the same name; one of them lost its consumer at the brokers."""
    units = {"shop-worker@default": ["celery"], "blog-worker@default": ["celery"]}
    shop = answer("haproxy", *units, consuming=units, proxy=PROXY)
    queues = {"shop/celery": queue(consumers=0), "blog/celery": queue()}
    brokers = {name.replace("-", "_"): broker(queues) for name in MEMBERS}
    status = report.assemble(GROUPS, {}, answers(worker_1=shop, **brokers))
    assert [problem["sentence"] for problem in status["problems"]] == ["No worker consumes shop/celery."]


def test_alerts_of_all_monitors_are_shown_once_and_are_no_problem() -> None:
    alert = {"name": "DeadLetters", "severity": "warning", "summary": "mosaic.dead holds dead letters (3)."}
    groups = GROUPS | {"monitors": ["monitor-1", "monitor-2"]}
    monitor = answer("prometheus", alerts=[alert])
    status = report.assemble(groups, {}, answers(monitor_1=monitor, monitor_2=monitor))
    assert status["alerts"] == [alert]
    assert status["healthy"]


def test_a_host_of_two_groups_is_shown_once() -> None:
    groups = GROUPS | {"databases": ["gateway-1"]}
    nodes = report.assemble(groups, {}, answers())["nodes"]
    assert [node["name"] for node in nodes] == [*MEMBERS, "worker-1", "gateway-1"]
    assert nodes[-1]["group"] == "gateways"


TWO = MEMBERS[:2]
BEHIND = "Members of a.queue do not follow the leader; they are replaced within minutes."
OFFLINE = "Not all members of mosaic.render are online; a queue stops without a majority."
# Answers, and all that is wrong then.
SICK: list[tuple[str, dict[str, Any], list[str]]] = [
    ("HostNotRunning", {"gateway_1": None}, ["gateway-1 is unreachable."]),
    ("HostNotRunning", {"gateway_1": answer("nginx", state="starting")}, ["gateway-1 is starting."]),
    (
        "UnitNotActive",
        {"gateway_1": answer() | {"services": {"nginx": "failed"}}},
        ["nginx on gateway-1 is failed."],
    ),
    (
        "BrokerDown",
        {"broker_2": answer("rabbitmq-server", unanswered={"BrokerDown": "timed out"})},
        ["The broker on broker-2 does not answer (timed out)."],
    ),
    (
        "DatabaseDown",
        {"gateway_1": answer("postgresql@17-main", unanswered={"DatabaseDown": "no response"})},
        ["The database on gateway-1 does not answer (no response)."],
    ),
    (
        "MonitorDown",
        {"gateway_1": answer("prometheus", unanswered={"MonitorDown": "timed out"})},
        ["Prometheus on gateway-1 does not answer (timed out)."],
    ),
    (
        "ClusterIncomplete",
        {f"broker_{n}": broker(running=TWO, endangered=["a.queue"]) for n in (1, 2, 3)},
        ["Not every broker is a running member of one cluster (broker-3)."],
    ),
    (
        "ClusterIncomplete",
        {"broker_3": broker(members=["broker-3"], running=["broker-3"])},
        ["Not every broker is a running member of one cluster (broker-1, broker-2)."],
    ),
    (
        "ClusterIncomplete",
        {f"broker_{n}": broker(members=[*MEMBERS, "broker-9"]) for n in (1, 2, 3)},
        ["Not every broker is a running member of one cluster (broker-9)."],
    ),
    (
        "ClusterPartitioned",
        {"broker_1": broker(partitions=[TWO])},
        ["The cluster is partitioned: brokers that run do not reach each other (broker-1 and broker-2)."],
    ),
    (
        "MemoryAlarm",
        {"broker_1": broker(alarms=["broker-1: memory"])},
        ["broker-1 is above its memory limit, so all brokers block publishers."],
    ),
    (
        "DiskAlarm",
        {"broker_1": broker(alarms=["broker-2: disk"])},
        ["broker-2 has too little free disk space, so all brokers block publishers."],
    ),
    (
        "QueueMembersMissing",
        {"broker_1": broker(QUEUES | {"mosaic.render": queue(TWO)}, endangered=["mosaic.render"])},
        [OFFLINE],
    ),
    ("QueueMembersBehind", {"broker_3": broker(endangered=["a.queue"])}, [BEHIND]),
    (
        "QueueWithoutConsumer",
        {"broker_1": broker(QUEUES | {"mosaic.render": queue(consumers=0)})},
        ["No worker consumes mosaic.render."],
    ),
    (
        "WorkersNotConsuming",
        {"broker_1": broker(QUEUES | {"mosaic.host.worker-1": queue(consumers=0)})},
        ["The workers on worker-1 do not consume all of their queues (mosaic.host.worker-1)."],
    ),
    (
        "WorkersNotConsuming",
        {"worker_1": worker(consuming={"mosaic-worker@general": ["mosaic.scale"]})},
        ["The workers on worker-1 do not consume all of their queues (mosaic-worker@render)."],
    ),
    (
        "ProxyFindsNoBroker",
        {"gateway_1": answer("haproxy", proxy=dict.fromkeys(MEMBERS, "DOWN"))},
        ["The proxy on gateway-1 finds no healthy broker."],
    ),
    (
        "ProxyMissesBrokers",
        {"gateway_1": answer("haproxy", proxy={"broker-1": "UP", "broker-2": "DOWN 1/2"})},
        ["The proxy on gateway-1 does not find every broker healthy (broker-2, broker-3)."],
    ),
]


@pytest.mark.parametrize(("condition", "changes", "sentences"), SICK)
def test_a_condition_that_holds_is_reported_alone(
    condition: str, changes: dict[str, Any], sentences: list[str]
) -> None:
    status = report.assemble(GROUPS, {}, answers(**changes))
    assert not status["healthy"]
    assert [problem["sentence"] for problem in status["problems"]] == sentences
    assert {problem["condition"] for problem in status["problems"]} == {condition}


def test_status_finds_the_conditions_of_the_list() -> None:
    seen = {name for name, condition in CONDITIONS.items() if "status" in condition["seen_by"]}
    assert {condition for condition, _, _ in SICK} == seen


def test_what_follows_from_a_missing_broker_is_not_reported_too() -> None:
    """Every queue misses a member then, and every proxy a broker; a queue without a consumer is reported."""
    queues = {name: queue(TWO) for name in QUEUES} | {"mosaic.scale": queue(TWO, consumers=0)}
    proxy = PROXY | {"broker-3": "DOWN"}
    found = answers(
        broker_1=broker(queues, running=TWO),
        broker_2=broker(queues, running=TWO),
        broker_3=None,
        worker_1=worker(proxy=proxy),
        gateway_1=answer("nginx", proxy=proxy),
    )
    status = report.assemble(GROUPS, {"broker-3": "stopped"}, found)
    assert [problem["condition"] for problem in status["problems"]] == [
        "HostNotRunning",
        "ClusterIncomplete",
        "QueueWithoutConsumer",
    ]
    assert status["cluster"]["running"] == TWO
    assert status["cluster"]["seen_alike_by_all"]
    assert status["queues"] == queues


def test_without_any_broker_nothing_is_said_of_consumers() -> None:
    dead = answer("rabbitmq-server", unanswered={"BrokerDown": "timed out"})
    status = report.assemble(GROUPS, {}, answers(broker_1=dead, broker_2=dead, broker_3=dead))
    found = {problem["condition"] for problem in status["problems"]}
    assert found == {"BrokerDown", "ClusterIncomplete"}
    assert status["cluster"]["seen_alike_by_all"] is False


def test_the_substrate_tells_stopped_from_unreachable() -> None:
    status = report.assemble(
        GROUPS, {"broker-1": "stopped", "worker-1": "running"}, answers(broker_1=None, worker_1=None)
    )
    states = {node["name"]: node["state"] for node in status["nodes"]}
    assert (states["broker-1"], states["worker-1"]) == ("stopped", "unreachable")
    assert not status["healthy"]


def test_text_that_is_no_json_is_no_answer() -> None:
    status = report.assemble(GROUPS, {}, answers() | {"gateway-1": "Segmentation fault"})
    assert [problem["sentence"] for problem in status["problems"]] == ["gateway-1 is unreachable."]
