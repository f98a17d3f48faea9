"""Databases: TLS and SCRAM for everybody from outside, roles with no more than they need."""

from __future__ import annotations

from tests.nodes.lab import Facts, Lab

testinfra_hosts = ["ansible://databases"]


def test_speaks_tls(database: Facts) -> None:
    assert database["settings"]["ssl"] == "on"
    assert database["settings"]["ssl_min_protocol_version"] in ("TLSv1.2", "TLSv1.3")


def test_sessions_from_other_hosts_are_encrypted(database: Facts) -> None:
    assert database["sessions"], "no client is connected"
    assert all(session["ssl"] for session in database["sessions"])


def test_sessions_are_of_the_application_in_its_database(database: Facts) -> None:
    assert {(session["user"], session["database"]) for session in database["sessions"]} == {
        ("mosaic", "mosaic")
    }


def test_passwords_are_kept_as_scram(database: Facts) -> None:
    assert database["settings"]["password_encryption"] == "scram-sha-256"
    kinds = {role["name"]: role["password"] for role in database["roles"] if role["logs_in"]}
    # None: nobody logs in by a password, only the system user of that name on the server's own host.
    assert kinds == {
        "postgres": None,
        "prometheus": None,
        "mosaic": "SCRAM-SHA-256",
        "mosaic_owner": "SCRAM-SHA-256",
    }


def test_roles_of_the_application_rule_nothing(database: Facts) -> None:
    powers = ("super", "creates_databases", "creates_roles", "replicates")
    for role in database["roles"]:
        if role["name"].startswith("mosaic") or role["name"] == "prometheus":
            assert not any(role[power] for power in powers), role


def test_who_looks_at_statistics_may_do_nothing_else(database: Facts) -> None:
    assert database["memberships"] == [{"name": "prometheus", "group": "pg_monitor"}]


def test_rules_admit_known_hosts_over_tls_only(database: Facts, lab: Lab) -> None:
    assert not [rule["error"] for rule in database["rules"] if rule["error"]]
    remote = [rule for rule in database["rules"] if rule["type"] != "local"]
    assert {(rule["type"], rule["method"]) for rule in remote} == {("hostssl", "scram-sha-256")}
    clients = {lab.addresses[name] for name in lab.group("workers", "gateways", "monitors")}
    assert {rule["address"] for rule in remote} == clients


def test_schema_belongs_to_the_role_that_migrates(database: Facts) -> None:
    assert {"name": "mosaic", "owner": "mosaic_owner"} in database["databases"]
    owners = {table["name"]: table["owner"] for table in database["tables"]}
    assert {"job", "part", "attempt", "alembic_version"} <= set(owners)
    assert set(owners.values()) == {"mosaic_owner"}
