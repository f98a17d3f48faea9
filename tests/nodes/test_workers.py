"""Workers: each instance consumes its declared queues, and every host executes the tasks of its queue."""

from __future__ import annotations

from tests.nodes.lab import Answers, Facts, Lab, Node, ask_now

testinfra_hosts = ["ansible://workers"]


def test_instances_are_the_declared_ones(client: Facts, node: Node, lab: Lab) -> None:
    wanted = {
        f"{application['name']}-worker@{instance['name']}": [
            queue.replace("%H", node.name) for queue in instance["queues"]
        ]
        for application in lab.applications
        for instance in application["workers"]
    }
    assert client["declared"] == wanted
    assert sorted(name for name in client["units"] if "-worker@" in name) == sorted(wanted)


def test_each_instance_reports_that_it_consumes(client: Facts) -> None:
    for name, queues in client["declared"].items():
        unit = client["units"][name]
        assert unit["ActiveState"] == "active", unit
        first, *consumed = unit["StatusText"].replace(",", " ").split()
        # The name of a queue may have spaces.
        assert (first, sorted(consumed)) == ("consuming", sorted(" ".join(queues).split()))


def test_brokers_know_its_consumers(client: Facts, node: Node, answers: Answers, lab: Lab) -> None:
    """Each queue has a consumer with this host's address and manual acknowledgements."""
    wanted = {queue for queues in client["declared"].values() for queue in queues}
    for name in lab.group("brokers"):
        if missing := wanted - acknowledged_here(answers.of(name, "broker"), node):
            # Brokers update their lists of consumers every 5 s, and an instance may have just started.
            missing = wanted - acknowledged_here(ask_now(lab, name, "broker"), node)
        assert not missing, name


def acknowledged_here(broker: Facts, node: Node) -> set[str]:
    """Queues that this host consumes with manual acknowledgements, as the broker reports."""
    return {
        consumer["queue"]
        for consumer in broker["consumers"]
        if consumer["peer"] == node.address and consumer["acknowledges"]
    }


def test_a_task_published_on_the_gateway_is_executed_here(node: Node, answers: Answers, lab: Lab) -> None:
    """The record in the ledger has the host and the process."""
    probe = answers.of(lab.group("gateways")[0], "gateway")["probe"]
    (record,) = [record for record in probe["records"] if record["host"] == node.name] or [None]
    assert record, probe["complaint"]
    assert record["pid"] > 1
    assert record["task_id"]
    assert record["seconds"] < 10 * lab.patience


def test_logs_are_stored_by_every_worker_host(client: Facts) -> None:
    unit = client["units"]["mosaic-log-store"]
    assert (unit["ActiveState"], unit["StatusText"]) == ("active", "consuming mosaic.logs")
