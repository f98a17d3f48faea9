"""Gateways: TLS and a login for all pages, ticks of beat, and log records of every host."""

from __future__ import annotations

import pytest

from tests.nodes.lab import RECENT_TICK_S, Facts, Lab

testinfra_hosts = ["ansible://gateways"]


def test_units_run(gateway: Facts) -> None:
    assert set(gateway["units"].values()) == {"active"}, gateway["units"]


def test_answers_over_tls_by_its_name(gateway: Facts) -> None:
    """The request verified the name and the chain of the certificate."""
    assert (gateway["health"]["status"], gateway["health"]["body"]) == (200, {"status": "ok"})


def test_page_redirects_to_the_login(gateway: Facts) -> None:
    assert gateway["page"]["status"] in (302, 303, 307)
    assert gateway["page"]["location"].startswith("/login")


@pytest.mark.parametrize("attempt", ["api", "wrong login"])
def test_api_refuses_a_request_without_a_valid_login(gateway: Facts, attempt: str) -> None:
    assert gateway[attempt]["status"] == 401
    assert gateway[attempt]["body"]["error"]


def test_api_accepts_the_lab_user(gateway: Facts) -> None:
    assert gateway["right login"] == 200


def test_beat_ticks(gateway: Facts, lab: Lab) -> None:
    """A recent tick went from beat through the broker and a worker to the database."""
    assert gateway["beat"]["status"] == 200, gateway["beat"]
    tick = gateway["beat"]["body"]
    assert tick["age_seconds"] < RECENT_TICK_S * lab.patience
    assert tick["host"] in lab.group("workers")


def test_logs_of_every_host_arrive(gateway: Facts, lab: Lab) -> None:
    senders = {
        host: {record["host"] for record in found["records"]} for host, found in gateway["logs"].items()
    }
    assert senders == {host: {host} for host in lab.nodes}


def test_plain_http_is_not_served(every: Facts) -> None:
    assert 80 not in every["listening"]["network"]


def test_proxied_pages_require_a_login(gateway: Facts) -> None:
    assert "rabbitmq" in gateway["proxied"]
    for path, found in gateway["proxied"].items():
        assert found["browser"]["status"] == 303, path
        assert found["browser"]["location"] == f"/login?next=/{path}/"
        assert found["program"]["status"] == 401, path
        assert found["program"]["body"]["error"].startswith("login is required")
        assert found["user"]["status"] in (200, 302), f"{path}: {found['user']}"
