"""Brokers: one complete cluster, the same seen from every member; quorum queues; TLS; least privilege."""

from __future__ import annotations

import re
from collections import Counter

from tests.nodes.lab import Answers, Facts, Lab, Node, ask_now, declared, eventually

testinfra_hosts = ["ansible://brokers"]

QUORUM_MEMBERS_MAX = 5
SPREAD_S = 60.0


def test_every_broker_reports_all_brokers_as_running_members(broker: Facts, lab: Lab) -> None:
    members = [f"rabbit@{name}" for name in lab.group("brokers")]
    assert sorted(member["name"] for member in broker["nodes"]) == members
    assert sorted(member["name"] for member in broker["nodes"] if member.get("running")) == members


def test_reports_no_partition(broker: Facts) -> None:
    assert not [member for member in broker["nodes"] if member.get("partitions")]


def test_has_no_alarm(broker: Facts) -> None:
    keys = ("mem_alarm", "disk_free_alarm")
    assert not [member for member in broker["nodes"] if any(member.get(key) for key in keys)]
    assert broker["alarms_status"] == 200


def test_all_brokers_run_the_same_version(broker: Facts, answers: Answers, lab: Lab) -> None:
    versions = {name: answers.of(name, "broker")["versions"] for name in lab.group("brokers")}
    assert all(version == broker["versions"] for version in versions.values()), versions


def test_every_queue_of_the_application_is_a_quorum_queue(broker: Facts) -> None:
    kinds = {queue["name"]: queue["type"] for queue in broker["queues"] if is_ours(queue["name"])}
    assert consumed_by_workers() | {"mosaic.logs", "mosaic.dead"} <= set(kinds)
    assert set(kinds.values()) == {"quorum"}, kinds


def test_every_quorum_queue_has_all_its_members(broker: Facts, lab: Lab) -> None:
    wanted = min(len(lab.group("brokers")), QUORUM_MEMBERS_MAX)
    members = {queue["name"]: queue["members"] for queue in broker["queues"] if queue["type"] == "quorum"}
    assert not {name: found for name, found in members.items() if len(found) != wanted}


def test_brokers_lead_about_as_many_queues(broker: Facts, node: Node, lab: Lab) -> None:
    """In each vhost the numbers of leaders differ by at most one: lab-quorum-watch moves leaders."""
    reports = [broker]

    def complaint() -> str:
        report = reports.pop() if reports else ask_now(lab, node.name, "broker")
        leads: dict[str, Counter[str]] = {}
        for queue in report["queues"]:
            if queue["type"] == "quorum" and not queue["name"].startswith("celery_delayed_"):
                count = leads.setdefault(queue["vhost"], Counter(dict.fromkeys(queue["members"], 0)))
                count[queue["leader"]] += 1
        uneven = {
            vhost: count for vhost, count in leads.items() if max(count.values()) - min(count.values()) > 1
        }
        return str(uneven or "")

    eventually("leaders are spread", SPREAD_S * lab.patience, complaint)


def test_no_queue_would_stop_without_this_broker(broker: Facts) -> None:
    """Every member follows its leader, or one more failure stops the queue."""
    # The management API's list of online members can be minutes old after an election.
    assert not broker["critical_queues"]


def test_accepted_messages_cannot_be_lost_from_a_queue(broker: Facts) -> None:
    """A message that fails repeatedly becomes a dead letter in mosaic.dead, with at-least-once delivery."""
    kept = [
        policy for policy in declared("rabbitmq_policies") if "dead-letter-exchange" in policy["definition"]
    ]
    covered = []
    for queue in broker["queues"]:
        for policy in kept:
            if is_ours(queue["name"]) and re.search(policy["pattern"], queue["name"]):
                assert queue["effective_policy_definition"] == policy["definition"], queue["name"]
                covered.append(queue["name"])
    assert consumed_by_workers() | {"mosaic.logs"} <= set(covered)
    assert "mosaic.dead" not in covered, "mosaic.dead must not dead-letter to itself"


def test_reading_dead_letters_has_no_delivery_limit(broker: Facts) -> None:
    (dead,) = (queue for queue in broker["queues"] if queue["name"] == "mosaic.dead")
    assert dead["effective_policy_definition"] == {"delivery-limit": -1}


def test_metadata_store_is_khepri(broker: Facts) -> None:
    """With Mnesia, a partition remains after a broker was frozen, until an operator repairs it."""
    assert broker["feature_flags"]["khepri_db"] == "enabled"


def test_health_check_reports_up(broker: Facts) -> None:
    assert broker["check"] == "up"


def test_no_dead_letters(broker: Facts) -> None:
    depth = {queue["name"]: queue["messages"] for queue in broker["queues"]}
    assert depth["mosaic.dead"] == 0, "read them in the console, on the page of queues"


def test_clients_and_operators_connect_over_tls_only(broker: Facts) -> None:
    protocols = set(broker["protocols"])
    assert {"amqp/ssl", "https", "clustering"} <= protocols
    assert protocols <= {"amqp/ssl", "https", "clustering", "http/prometheus", "https/prometheus"}


def test_brokers_connect_to_each_other_over_tls(broker: Facts) -> None:
    """This broker makes a TLS handshake with the distribution port of each peer."""
    assert all(version.startswith("TLSv1") for version in broker["distribution"].values()), broker[
        "distribution"
    ]


def test_guest_does_not_exist(broker: Facts) -> None:
    assert broker["guest_status"] == 401


def test_monitor_cannot_read_users(broker: Facts) -> None:
    assert broker["monitor_sees_users"] in (401, 403)


def test_no_deprecated_feature_is_used(broker: Facts) -> None:
    """RabbitMQ 4.3 denies deprecated features: transient non-exclusive queues, global QoS and others."""
    assert broker["deprecated"] == []


def test_users_are_the_declared_ones(answers: Answers, lab: Lab) -> None:
    """Others have no permission: those of applications that are no longer declared."""
    held = definitions(answers, lab)
    left = left_over(answers, lab)
    users = {user["name"]: user["tags"] for user in held["users"] if user["name"] not in left}
    operators = {"admin": ["administrator"], "monitor": ["monitoring"]}
    applications = [*(user["name"] for user in declared("lab_broker_users")), *lab.added]
    applications.append(declared("lab_events_user"))
    assert users == operators | {name: [] for name in applications}


def test_users_may_do_what_is_declared_and_no_more(answers: Answers, lab: Lab) -> None:
    keys = ("vhost", "configure", "write", "read")
    held = sorted(
        [entry["user"], *(entry[key] for key in keys)]
        for entry in definitions(answers, lab)["permissions"]
        if entry["user"] != "admin"
    )
    wanted = [[user["name"], *(user[key] for key in keys)] for user in declared("lab_broker_users")]
    wanted += [[name, name, *[r"^(?!amq\.rabbitmq\.)"] * 3] for name in lab.added]
    events = [declared("lab_events_access")[key] for key in keys[1:]]
    wanted += [[declared("lab_events_user"), vhost, *events] for vhost in ("mosaic", *lab.added)]
    vhosts = {"mosaic", *lab.added, *left_over(answers, lab)}
    wanted += [["monitor", vhost, "^$", "^$", "^$"] for vhost in vhosts]
    assert held == sorted(wanted)


def test_vhosts_are_the_declared_ones(answers: Answers, lab: Lab) -> None:
    left = left_over(answers, lab)
    held = {
        vhost["name"]: vhost.get("default_queue_type")
        for vhost in definitions(answers, lab)["vhosts"]
        if vhost["name"] not in left
    }
    assert held == dict.fromkeys(declared("rabbitmq_vhosts"), "quorum") | dict.fromkeys(lab.added, "classic")


def consumed_by_workers() -> set[str]:
    """The queues that all worker hosts consume."""
    (mosaic,) = (entry for entry in declared("lab_applications") if entry["name"] == "mosaic")
    return {queue for instance in mosaic["workers"] for queue in instance["queues"] if "%H" not in queue}


def is_ours(queue: str) -> bool:
    """Whether a queue belongs to the application; not those of delayed delivery and of live log pages."""
    return queue.startswith("mosaic.") and not queue.startswith("mosaic.tail.")


def left_over(answers: Answers, lab: Lab) -> set[str]:
    """Applications that are no longer declared: users without permission and without tag, with a vhost."""
    held = definitions(answers, lab)
    idle = {user["name"] for user in held["users"] if not user["tags"]}
    idle -= {entry["user"] for entry in held["permissions"]}
    return (idle & {vhost["name"] for vhost in held["vhosts"]}) - set(lab.added)


def definitions(answers: Answers, lab: Lab) -> Facts:
    """Definitions of the cluster, as the first broker exports them."""
    held: Facts = answers.of(lab.group("brokers")[0], "broker")["definitions"]
    return held
