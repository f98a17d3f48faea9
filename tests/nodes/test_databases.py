"""Databases: TLS and SCRAM for connections from other hosts, and roles with least privilege."""

from __future__ import annotations

from tests.nodes.lab import Facts, Lab

testinfra_hosts = ["ansible://databases"]


def test_server_uses_tls(database: Facts) -> None:
    assert database["settings"]["ssl"] == "on"
    assert database["settings"]["ssl_min_protocol_version"] in ("TLSv1.2", "TLSv1.3")


def test_sessions_from_other_hosts_are_encrypted(database: Facts) -> None:
    assert database["sessions"], "no client is connected"
    assert all(session["ssl"] for session in database["sessions"])


def test_sessions_belong_to_the_applications(database: Facts, lab: Lab) -> None:
    """Each application has sessions in its own database only; an idle one may have none."""
    found = {(session["user"], session["database"]) for session in database["sessions"]}
    assert ("mosaic", "mosaic") in found
    assert found <= {(name, name) for name in ("mosaic", *lab.added)}


def test_passwords_are_stored_as_scram(database: Facts, lab: Lab) -> None:
    assert database["settings"]["password_encryption"] == "scram-sha-256"
    # None: without a password, only the system user of the same name can log in, on the server's host.
    wanted = {
        "postgres": None,
        "prometheus": None,
        "mosaic": "SCRAM-SHA-256",
        "mosaic_owner": "SCRAM-SHA-256",
        **dict.fromkeys(lab.added, "SCRAM-SHA-256"),
    }
    # A role of an application that is no longer declared stays, and no rule admits it.
    possible = {user for rule in database["rules"] for user in rule["users"]} | wanted.keys()
    kinds = {
        role["name"]: role["password"]
        for role in database["roles"]
        if role["logs_in"] and role["name"] in possible
    }
    assert kinds == wanted


def test_roles_of_the_applications_have_no_administrative_attributes(database: Facts, lab: Lab) -> None:
    powers = ("super", "creates_databases", "creates_roles", "replicates")
    for role in database["roles"]:
        if role["name"].startswith("mosaic") or role["name"] in ("prometheus", *lab.added):
            assert not any(role[power] for power in powers), role


def test_monitoring_role_may_only_read_statistics(database: Facts) -> None:
    assert database["memberships"] == [{"name": "prometheus", "group": "pg_monitor"}]


def test_rules_admit_known_hosts_over_tls_only(database: Facts, lab: Lab) -> None:
    assert not [rule["error"] for rule in database["rules"] if rule["error"]]
    remote = [rule for rule in database["rules"] if rule["type"] != "local"]
    assert {(rule["type"], rule["method"]) for rule in remote} == {("hostssl", "scram-sha-256")}
    clients = {lab.addresses[name] for name in lab.group("workers", "gateways", "monitors")}
    assert {rule["address"] for rule in remote} == clients


def test_schema_belongs_to_its_owner_role(database: Facts, lab: Lab) -> None:
    for name in lab.added:
        assert {"name": name, "owner": name} in database["databases"]
    assert {"name": "mosaic", "owner": "mosaic_owner"} in database["databases"]
    owners = {table["name"]: table["owner"] for table in database["tables"]}
    assert {"job", "part", "attempt", "alembic_version"} <= set(owners)
    assert set(owners.values()) == {"mosaic_owner"}
