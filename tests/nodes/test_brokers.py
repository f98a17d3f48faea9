"""Brokers: one cluster, whole and alike from every member; quorum queues; TLS everywhere; least privilege."""

from __future__ import annotations

import re

from tests.nodes.lab import Answers, Facts, Lab, declared

testinfra_hosts = ["ansible://brokers"]

QUORUM_MEMBERS_MAX = 5


def test_names_the_same_running_members(broker: Facts, lab: Lab) -> None:
    members = [f"rabbit@{name}" for name in lab.group("brokers")]
    assert sorted(member["name"] for member in broker["nodes"]) == members
    assert sorted(member["name"] for member in broker["nodes"] if member.get("running")) == members


def test_sees_no_partition(broker: Facts) -> None:
    assert not [member for member in broker["nodes"] if member.get("partitions")]


def test_has_no_alarm(broker: Facts) -> None:
    keys = ("mem_alarm", "disk_free_alarm")
    assert not [member for member in broker["nodes"] if any(member.get(key) for key in keys)]
    assert broker["alarms_status"] == 200


def test_all_run_one_version(broker: Facts, answers: Answers, lab: Lab) -> None:
    versions = {name: answers.of(name, "broker")["versions"] for name in lab.group("brokers")}
    assert all(version == broker["versions"] for version in versions.values()), versions


def test_every_queue_of_the_application_is_a_quorum_queue(broker: Facts) -> None:
    kinds = {queue["name"]: queue["type"] for queue in broker["queues"] if is_ours(queue["name"])}
    assert consumed_by_workers() | {"mosaic.logs", "mosaic.dead"} <= set(kinds)
    assert set(kinds.values()) == {"quorum"}, kinds


def test_every_quorum_queue_has_all_its_members_online(broker: Facts, lab: Lab) -> None:
    wanted = min(len(lab.group("brokers")), QUORUM_MEMBERS_MAX)
    lacking = {
        queue["name"]: f"members {queue['members']}, online {queue['online']}"
        for queue in broker["queues"]
        if queue["type"] == "quorum" and not len(queue["members"]) == len(queue["online"]) == wanted
    }
    assert not lacking


def test_nothing_accepted_can_vanish_from_a_queue(broker: Facts) -> None:
    """What cannot be done goes to mosaic.dead, at least once, and only after its tries."""
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
    assert "mosaic.dead" not in covered, "dead letters must not go round"


def test_looks_at_dead_letters_do_not_count_against_them(broker: Facts) -> None:
    (dead,) = (queue for queue in broker["queues"] if queue["name"] == "mosaic.dead")
    assert dead["effective_policy_definition"] == {"delivery-limit": -1}


def test_metadata_store_is_khepri(broker: Facts) -> None:
    """With Mnesia a broker that was frozen leaves a partition behind that somebody must mend."""
    assert broker["feature_flags"]["khepri_db"] == "enabled"


def test_check_says_that_the_broker_is_of_use(broker: Facts) -> None:
    assert broker["check"] == "up"


def test_no_dead_letters(broker: Facts) -> None:
    depth = {queue["name"]: queue["messages"] for queue in broker["queues"]}
    assert depth["mosaic.dead"] == 0, "look at them: rabbitmqadmin or the management API, queue mosaic.dead"


def test_speaks_to_clients_and_operators_over_tls_only(broker: Facts) -> None:
    spoken = set(broker["protocols"])
    assert {"amqp/ssl", "https", "clustering"} <= spoken
    assert spoken <= {"amqp/ssl", "https", "clustering", "http/prometheus", "https/prometheus"}


def test_speaks_to_other_brokers_over_tls(broker: Facts) -> None:
    """By the handshake of each peer's distribution port, with this broker's certificate."""
    assert all(version.startswith("TLSv1") for version in broker["distribution"].values()), broker[
        "distribution"
    ]


def test_guest_is_gone(broker: Facts) -> None:
    assert broker["guest_status"] == 401


def test_monitor_looks_at_no_users(broker: Facts) -> None:
    assert broker["monitor_sees_users"] in (401, 403)


def test_no_deprecated_feature_is_used(broker: Facts) -> None:
    """RabbitMQ 4.3 denies them: transient non-exclusive queues, global QoS and others."""
    assert broker["deprecated"] == []


def test_users_are_the_declared_ones(answers: Answers, lab: Lab) -> None:
    held = definitions(answers, lab)
    users = {user["name"]: user["tags"] for user in held["users"]}
    operators = {"admin": ["administrator"], "monitor": ["monitoring"]}
    assert users == operators | {user["name"]: [] for user in declared("rabbitmq_users")}


def test_users_may_do_what_is_declared_and_no_more(answers: Answers, lab: Lab) -> None:
    keys = ("vhost", "configure", "write", "read")
    held = {
        entry["user"]: [entry[key] for key in keys]
        for entry in definitions(answers, lab)["permissions"]
        if entry["user"] != "admin"
    }
    wanted = {user["name"]: [user[key] for key in keys] for user in declared("rabbitmq_users")}
    assert held == {"monitor": ["mosaic", "^$", "^$", "^$"], **wanted}


def test_vhosts_are_the_declared_ones(answers: Answers, lab: Lab) -> None:
    held = {vhost["name"]: vhost.get("default_queue_type") for vhost in definitions(answers, lab)["vhosts"]}
    assert held == dict.fromkeys(declared("rabbitmq_vhosts"), "quorum")


def consumed_by_workers() -> set[str]:
    """The queues that worker hosts share, by the instances that consume them."""
    instances = declared("celery_worker_instances")
    return {queue for instance in instances for queue in instance["queues"] if "%H" not in queue}


def is_ours(queue: str) -> bool:
    """Whether a queue carries work of the application; not Celery's delays, nor the log tails of pages."""
    return queue.startswith("mosaic.") and not queue.startswith("mosaic.tail.")


def definitions(answers: Answers, lab: Lab) -> Facts:
    """What the cluster holds, as its first broker exported it."""
    held: Facts = answers.of(lab.group("brokers")[0], "broker")["definitions"]
    return held
