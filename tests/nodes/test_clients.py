"""Worker hosts and gateways: their access to broker and database, and its limits."""

from __future__ import annotations

import pytest

from tests.nodes.lab import Facts, Lab, Node

testinfra_hosts = ["ansible://workers", "ansible://gateways"]


def test_proxy_finds_every_broker_up(client: Facts, lab: Lab) -> None:
    assert sorted(client["proxy"]) == lab.group("brokers")
    assert all(state.startswith("UP") for state in client["proxy"].values()), client["proxy"]


def test_proxy_runs(client: Facts) -> None:
    assert client["units"]["haproxy"]["ActiveState"] == "active"


def test_plain_amqp_stays_on_loopback(every: Facts) -> None:
    assert 5672 in every["listening"]["loopback"]
    assert 5672 not in every["listening"]["network"]


def test_only_the_application_can_read_its_configuration(every: Facts) -> None:
    wanted = {"mode": "0640", "owner": "root", "group": "mosaic"}
    assert every["secret_files"]["/etc/mosaic/mosaic.toml"] == wanted


def test_only_gateways_have_the_login_of_the_schema_owner(every: Facts, node: Node) -> None:
    found = every["secret_files"].get("/etc/mosaic/owner.toml")
    wanted = {"mode": "0600", "owner": "root", "group": "root"}
    assert found == (wanted if "gateways" in node.groups else None)


def test_broker_accepts_the_application(client: Facts) -> None:
    assert client["broker"]["own user"] == "done"


@pytest.mark.parametrize(
    ("attempt", "refusal"),
    [
        ("guest", "ACCESS_REFUSED"),
        ("wrong password", "ACCESS_REFUSED"),
        ("other vhost", "NOT_ALLOWED"),
        ("foreign queue", "configure access to queue"),
        ("log publisher reads", "read access to queue"),
        ("log publisher declares", "configure access to exchange"),
    ],
)
def test_broker_refuses(client: Facts, attempt: str, refusal: str) -> None:
    assert refusal in client["broker"][attempt]


def test_an_added_application_has_its_own_vhost_and_sees_nothing_of_the_others(
    client: Facts, lab: Lab
) -> None:
    assert sorted(client["isolation"]) == sorted(lab.added)
    for name, found in client["isolation"].items():
        assert found["own vhost"] == "done", name
        assert all("NOT_ALLOWED" in refusal for refusal in found["other vhosts"]), (name, found)
        assert found["files"] == [], name


@pytest.mark.parametrize("attempt", ["own user", "encrypted"])
def test_database_accepts_the_application(client: Facts, attempt: str) -> None:
    assert client["database"][attempt] == "done"


@pytest.mark.parametrize(
    ("attempt", "refusal"),
    [
        ("wrong password", "password authentication failed"),
        ("plaintext", "no encryption"),
        ("database postgres", "no pg_hba.conf entry"),
        ("user postgres", "no pg_hba.conf entry"),
        ("create a table", "permission denied for schema public"),
        ("create in a schema of its own", "permission denied for database"),
        ("change the schema", "must be owner of table"),
        ("truncate", "permission denied for table"),
    ],
)
def test_database_refuses(client: Facts, attempt: str, refusal: str) -> None:
    assert refusal in client["database"][attempt]
