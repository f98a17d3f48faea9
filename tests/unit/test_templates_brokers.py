"""What the roles would write for brokers: settings, certificates, users, policies, health check."""

from __future__ import annotations

import json
import re

import pytest

from tests.unit.rendering import Rendered, addresses, hosts_of, settings


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cluster_partition_handling", "pause_minority"),
        ("default_queue_type", "quorum"),
        ("queue_leader_locator", "balanced"),
        ("listeners.tcp", "none"),
        ("listeners.ssl.default", "5671"),
        ("management.ssl.port", "15671"),
        ("raft.adaptive_failure_detector.poll_interval", "200"),
        ("log.file", "false"),
    ],
)
def test_broker_setting(rendered: Rendered, key: str, value: str) -> None:
    for file in rendered.each("/etc/rabbitmq/rabbitmq.conf"):
        assert settings(file.content)[key] == value


def test_every_broker_lists_all_brokers(rendered: Rendered) -> None:
    brokers = hosts_of(rendered, "broker")
    for file in rendered.each("/etc/rabbitmq/rabbitmq.conf"):
        found = settings(file.content)
        prefix = "cluster_formation.classic_config.nodes."
        listed = [value for key, value in found.items() if key.startswith(prefix)]
        assert listed == [f"rabbit@{name}" for name in brokers]
        target = found["quorum_queue.continuous_membership_reconciliation.target_group_size"]
        assert int(target) == min(len(brokers), 5)


def test_broker_leaves_memory_to_the_rest_of_its_host(usual: Rendered) -> None:
    for file in usual.each("/etc/rabbitmq/rabbitmq.conf"):
        limit = settings(file.content)["vm_memory_high_watermark.absolute"]
        assert re.fullmatch(r"\d+MB", limit)
        assert 256 <= int(limit.removesuffix("MB")) <= 0.7 * 1024


def test_consumers_of_a_frozen_broker_are_freed_in_seconds(rendered: Rendered) -> None:
    for file in rendered.each("/etc/rabbitmq/rabbitmq-env.conf"):
        ticktime = re.search(r"-kernel net_ticktime (\d+)", file.content)
        assert ticktime
        assert int(ticktime[1]) <= 10
        assert "-proto_dist inet_tls" in file.content
        assert f"NODENAME=rabbit@{file.host}\n" in file.content


def test_brokers_prove_themselves_to_each_other(rendered: Rendered) -> None:
    for file in rendered.each("/etc/rabbitmq/inter_node_tls.config"):
        assert file.content.count("{verify, verify_peer}") == 2
        assert "{fail_if_no_peer_cert, true}" in file.content
        for left, right in ("[]", "{}"):
            assert file.content.count(left) == file.content.count(right)


def test_brokers_share_one_cookie(rendered: Rendered) -> None:
    cookies = {file.content for file in rendered.each("/var/lib/rabbitmq/.erlang.cookie")}
    assert len(cookies) == 1
    # A line end would be a part of the cookie.
    assert all(re.fullmatch(r"[ -~]{20,255}", cookie) for cookie in cookies)


def test_definitions_declare_users_without_their_passwords(rendered: Rendered) -> None:
    for file in rendered.each("/etc/rabbitmq/definitions.json"):
        definitions = json.loads(file.content)
        assert not any(secret in file.content for secret in rendered.secrets.values())
        assert {user["name"]: user["tags"] for user in definitions["users"]} == {
            "admin": ["administrator"],
            "monitor": ["monitoring"],
            "mosaic": [],
            "mosaic-logs": [],
            "mosaic-flower": [],
        }


def test_log_publisher_may_write_to_its_exchange_and_nothing_else(rendered: Rendered) -> None:
    permissions = json.loads(rendered.text("broker-1", "/etc/rabbitmq/definitions.json"))["permissions"]
    found = next(entry for entry in permissions if entry["user"] == "mosaic-logs")
    assert re.search(found["write"], "mosaic.logs")
    for other in ("mosaic.tasks", "mosaic.logsx", "mosaic.dead", "amq.default"):
        assert not re.search(found["write"], other)
    assert not any(re.search(found[key], "mosaic.logs") for key in ("configure", "read"))


@pytest.mark.parametrize(
    ("queue", "applies"),
    [
        ("mosaic.render", True),
        ("mosaic.drill", True),
        ("mosaic.dead.letters", True),
        ("mosaic.long", True),
        ("mosaic.longer", True),
        ("mosaic.logs", True),
        ("mosaic.host.worker-1", True),
        ("mosaic.dead", False),
    ],
)
def test_policy_dead_letters_all_but_dead_letters(rendered: Rendered, queue: str, applies: bool) -> None:
    policies = json.loads(rendered.text("broker-1", "/etc/rabbitmq/definitions.json"))["policies"]
    (definition,) = [policy["definition"] for policy in policies if re.search(policy["pattern"], queue)]
    wanted = {
        "dead-letter-exchange": "mosaic.dead",
        "dead-letter-strategy": "at-least-once",
        "overflow": "reject-publish",
    }
    assert (wanted.items() <= definition.items()) is applies
    assert (definition["delivery-limit"] > 0) is applies


def test_part_of_minutes_may_be_interrupted_more_often_than_a_short_one_fails(rendered: Rendered) -> None:
    policies = json.loads(rendered.text("broker-1", "/etc/rabbitmq/definitions.json"))["policies"]
    limits = {policy["name"]: policy["definition"]["delivery-limit"] for policy in policies}
    assert limits["mosaic-long"] > len(hosts_of(rendered, "worker")) > 0
    assert limits["mosaic-long"] > limits["mosaic"]


def test_log_records_cannot_fill_the_disks_of_the_brokers(rendered: Rendered) -> None:
    """Records of an hour of a busy lab fit; the limit is far below the free space that the alarm needs."""
    policies = json.loads(rendered.text("broker-1", "/etc/rabbitmq/definitions.json"))["policies"]
    (limit,) = [
        policy["definition"].get("max-length-bytes")
        for policy in policies
        if re.search(policy["pattern"], "mosaic.logs")
    ]
    assert 2**24 <= limit <= 2**27
    tasks = [policy for policy in policies if re.search(policy["pattern"], "mosaic.render")]
    assert not any("max-length-bytes" in policy["definition"] for policy in tasks)


def test_no_look_at_dead_letters_uses_them_up(rendered: Rendered) -> None:
    policies = json.loads(rendered.text("broker-1", "/etc/rabbitmq/definitions.json"))["policies"]
    policy = next(policy for policy in policies if re.search(policy["pattern"], "mosaic.dead"))
    assert policy["definition"] == {"delivery-limit": -1}


def test_broker_check_looks_at_all_other_brokers(rendered: Rendered) -> None:
    known, brokers = addresses(rendered), hosts_of(rendered, "broker")
    for file in rendered.each("/etc/warren/broker-check.json"):
        found = json.loads(file.content)
        assert found["address"] == known[file.host]
        assert (found["user"], found["vhost"]) == ("monitor", "mosaic")
        assert sorted(found["peers"]) == sorted(known[name] for name in brokers if name != file.host)
