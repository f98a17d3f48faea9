"""Every host: names, firewall, units, clock, certificates, secrets."""

from __future__ import annotations

from tests.nodes.lab import AT_TIMES, SSH, Facts, Lab, Node

testinfra_hosts = ["ansible://all"]

CLOCK_S = 10
RENEWAL_DAYS = 25
# Their packages rotate their files.
SERVICES_OF_DEBIAN = ("rsyslog", "systemd-journald", "cloud-", "unattended-upgrades")
FIRST_LINES_BYTES = 16_000  # what PostgreSQL writes until it has read its configuration


def test_names_resolve_to_their_lab_addresses(every: Facts, lab: Lab) -> None:
    assert every["names"] == {name: [address] for name, address in lab.addresses.items()}


def test_no_unit_failed(every: Facts) -> None:
    journals = "\n".join(f"--- {unit}\n{journal}" for unit, journal in every["failed_units"].items())
    assert not every["failed_units"], journals
    assert every["state"] == "running"


def test_no_service_of_the_lab_writes_a_log_file(every: Facts) -> None:
    """They log to the journal, which has a limit: a minimal Debian has nothing that rotates files."""
    grown = {
        path: size
        for unit, files in every["log_files"].items()
        if not unit.startswith(SERVICES_OF_DEBIAN)
        for path, size in files.items()
        if size > FIRST_LINES_BYTES
    }
    assert not grown


def test_clock_agrees_with_the_controller(every: Facts) -> None:
    assert abs(every["asked_at"] - every["time"]) < CLOCK_S


def test_firewall_drops_by_default(every: Facts) -> None:
    assert every["firewall"] == "active"
    assert "policy drop" in every["rules"]


def test_only_expected_ports_are_open(every: Facts, node: Node, lab: Lab) -> None:
    assert set(every["listening"]["network"]) - {SSH, every["ssh_port"], *AT_TIMES} == set(
        lab.served_by(node.name)
    )


def test_only_declared_ports_of_other_hosts_are_reachable(every: Facts, node: Node, lab: Lab) -> None:
    found = {name: set(ports) - {SSH} for name, ports in every["reach"].items() if name != node.name}
    assert found == {
        name: ports for name, ports in lab.reachable_from(node.name).items() if name != node.name
    }


def test_certificates_of_others_are_valid_for_their_names(every: Facts) -> None:
    errors = {service: seen["error"] for service, seen in every["certificates"].items() if "error" in seen}
    assert not errors
    for service, seen in every["certificates"].items():
        assert seen["days"] > RENEWAL_DAYS, service
        assert seen["version"] in ("TLSv1.2", "TLSv1.3"), service


def test_secrets_have_restricted_modes(every: Facts) -> None:
    assert every["secret_files"], "each host has at least the key of its certificate"
    for path, file in every["secret_files"].items():
        assert file["mode"].endswith("0"), f"{path} has mode {file['mode']}"
        assert file["mode"][-2] in "04", f"{path} can be changed by its group: {file['mode']}"


def test_no_secret_in_the_process_list(every: Facts) -> None:
    assert every["secrets_in_process_list"] == []


def test_only_tls_services_can_read_the_key_of_the_certificate(every: Facts) -> None:
    assert every["secret_files"]["/etc/warren/pki/host.key"] == {
        "mode": "0640",
        "owner": "root",
        "group": "ssl-cert",
    }
