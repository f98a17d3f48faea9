"""Gateways: the door is TLS, asks for a login, and behind it beat ticks and logs of every host arrive."""

from __future__ import annotations

import pytest

from tests.nodes.lab import RECENT_TICK_S, Facts, Lab

testinfra_hosts = ["ansible://gateways"]


def test_units_run(gateway: Facts) -> None:
    assert set(gateway["units"].values()) == {"active"}, gateway["units"]


def test_answers_over_tls_by_its_name(gateway: Facts) -> None:
    """The request itself verified name and chain."""
    assert (gateway["health"]["status"], gateway["health"]["body"]) == (200, {"status": "ok"})


def test_page_leads_to_the_login(gateway: Facts) -> None:
    assert gateway["page"]["status"] in (302, 303, 307)
    assert gateway["page"]["location"].startswith("/login")


@pytest.mark.parametrize("attempt", ["api", "wrong login"])
def test_api_refuses_strangers_with_a_sentence(gateway: Facts, attempt: str) -> None:
    assert gateway[attempt]["status"] == 401
    assert gateway[attempt]["body"]["error"]


def test_api_lets_the_lab_user_in(gateway: Facts) -> None:
    assert gateway["right login"] == 200


def test_beat_ticks(gateway: Facts, lab: Lab) -> None:
    """A tick went from beat over broker and worker to the database."""
    assert gateway["beat"]["status"] == 200, gateway["beat"]
    tick = gateway["beat"]["body"]
    assert tick["age_seconds"] < RECENT_TICK_S * lab.patience
    assert tick["host"] in lab.group("workers")


def test_logs_of_every_host_arrive(gateway: Facts, lab: Lab) -> None:
    senders = {
        host: {record["host"] for record in found["records"]} for host, found in gateway["logs"].items()
    }
    assert senders == {host: {host} for host in lab.group("workers", "gateways")}


def test_plain_http_is_not_served(every: Facts) -> None:
    assert 80 not in every["listening"]["network"]


def test_what_is_behind_the_login_is_for_the_lab_user_alone(gateway: Facts) -> None:
    assert "rabbitmq" in gateway["doors"]
    for door, found in gateway["doors"].items():
        assert found["browser"]["status"] == 303, door
        assert found["browser"]["location"] == f"/login?next=/{door}/"
        assert found["program"]["status"] == 401, door
        assert found["program"]["body"]["error"].startswith("login is required")
        assert found["user"]["status"] in (200, 302), f"{door}: {found['user']}"
