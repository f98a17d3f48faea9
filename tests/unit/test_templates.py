"""What the roles would write: every template, secrets, names, firewall, database."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.rendering import ROLES, UNIT_STATE, Rendered, addresses, hosts_of, settings


def test_every_template_is_used_and_renders(shared: Rendered) -> None:
    used = {file.template.rpartition("/")[2] for file in shared.files}
    unused = [path for path in ROLES.glob("*/templates/**/*.j2") if path.name not in used]
    assert not unused


def test_every_file_names_its_origin(rendered: Rendered) -> None:
    """A person who opens the file sees that an edit will not last; some formats have no comments."""
    silent = {"definitions.json", "enabled_plugins", ".erlang.cookie"}
    for file in rendered.files:
        if file.template and Path(file.path).name not in silent:
            assert "managed" in "".join(file.content.splitlines()[:3]).lower(), file.path


def test_secrets_stay_in_files_that_not_everybody_reads(rendered: Rendered) -> None:
    for file in rendered.files:
        held = [name for name, secret in rendered.secrets.items() if secret in file.content]
        assert not held or file.mode.endswith("0"), f"{file.path} has mode {file.mode} and holds {held}"


def test_secrets_reach_only_the_hosts_that_need_them(rendered: Rendered) -> None:
    needs = {
        "erlang_cookie": "broker",
        "broker_admin": "nobody",  # known on the controller; brokers hold its hash
        "broker_monitor": "broker gateway",
        "broker_flower": "monitor",
        "broker_mosaic": "worker gateway",
        "broker_mosaic_logs": "broker worker gateway database monitor",
        "database_mosaic": "worker gateway",
        "console_password": "gateway",
        "console_session": "gateway",
    }
    for file in rendered.files:
        if file.template == "mosaic.toml.j2" and "owner" in file.path:
            continue  # its task is for gateways only, which this rendering does not see
        for name, groups in needs.items():
            if rendered.secrets[name] in file.content:
                assert file.host.split("-")[0] in groups.split(), f"{name} is in {file.path} of {file.host}"


def test_units_are_restarted_for_the_files_that_they_read(rendered: Rendered) -> None:
    asked: dict[str, dict[str, list[str]]] = {}
    for file in rendered.each(UNIT_STATE):
        units = asked.setdefault(file.host, {})
        units |= {entry["unit"]: entry["files"] for entry in json.loads(file.content)}
    for host in hosts_of(rendered, "worker"):
        workers = {unit: files for unit, files in asked[host].items() if unit.startswith("mosaic-worker@")}
        names = ("general", "long", "render")
        assert sorted(workers) == [f"mosaic-worker@{name}.service" for name in names]
        for name in names:
            env = f"/etc/mosaic/worker-{name}.env"
            assert [unit for unit, files in workers.items() if env in files] == [
                f"mosaic-worker@{name}.service"
            ]
        assert "mosaic-log-store.service" in asked[host]
    for host in hosts_of(rendered, "gateway"):
        assert "mosaic-log-store.service" not in asked[host]
    assert all("lab-log-shipper.service" in units for units in asked.values())


def test_names_resolve_to_every_lab_address(rendered: Rendered) -> None:
    known = addresses(rendered)
    assert sorted(known) == sorted({file.host for file in rendered.files})
    assert len(set(known.values())) == len(known)
    for file in rendered.each("/etc/hosts"):
        assert file.content == rendered.text("broker-1", "/etc/hosts"), file.host


def test_database_admits_only_clients_over_tls_with_a_password(rendered: Rendered) -> None:
    known = addresses(rendered)
    groups = ("worker", "gateway", "monitor")
    clients = [known[host] for group in groups for host in hosts_of(rendered, group)]
    (file,) = rendered.each("/etc/postgresql/17/main/pg_hba.conf")
    lines = [line.split() for line in file.content.splitlines() if line and not line.startswith("#")]
    remote = [words for words in lines if words[0] != "local"]
    assert {words[0] for words in remote} == {"hostssl"}
    assert {words[4] for words in remote} == {"scram-sha-256"}
    assert {words[1] for words in remote} == {"mosaic"}
    assert {words[3] for words in remote} == {f"{address}/32" for address in clients}
    # On the server's own host, as the system user of that name: the administrator, and the exporter.
    assert [words for words in lines if words[0] == "local"] == [
        ["local", "all", "postgres", "peer"],
        ["local", "postgres", "prometheus", "peer"],
    ]


def test_database_speaks_tls(rendered: Rendered) -> None:
    (file,) = rendered.each("/etc/postgresql/17/main/conf.d/lab.conf")
    found = settings(file.content)
    assert found["ssl"] == "on"
    assert found["password_encryption"] == "scram-sha-256"
    assert found["ssl_min_protocol_version"] == "'TLSv1.2'"


def test_database_logs_to_the_journal(rendered: Rendered) -> None:
    (file,) = rendered.each("/etc/postgresql/17/main/conf.d/lab.conf")
    found = settings(file.content)
    assert (found["log_destination"], found["logging_collector"]) == ("syslog", "off")


def accepted(rules: str) -> dict[int | str, set[str]]:
    """Sources by port of a firewall file: {port: addresses, "any" for all}."""
    pattern = re.compile(r"(?:ip saddr \{ (?P<from>[^}]*) \} )?tcp dport \{ (?P<ports>[^}]*) \} accept")
    found: dict[int | str, set[str]] = {}
    for line in rules.splitlines():
        match = pattern.search(line)
        if match:
            sources = set(match["from"].split(", ")) if match["from"] else {"any"}
            for port in match["ports"].split(", "):
                found.setdefault(int(port) if port.isdigit() else port, set()).update(sources)
    return found


def test_firewall_lets_in_only_what_a_group_serves(rendered: Rendered) -> None:
    known = addresses(rendered)

    def of(*groups: str) -> set[str]:
        return {known[host] for group in groups for host in hosts_of(rendered, group)}

    expected: dict[str, dict[int | str, set[str]]] = {
        "broker": {
            5671: set(known.values()),
            5670: of("broker", "worker", "gateway", "monitor"),
            4369: of("broker"),
            25672: of("broker"),
            "6000-6500": of("broker"),
            "35672-35682": of("broker"),
            15671: of("gateway", "monitor"),
            15691: of("monitor"),
        },
        "worker": {8405: of("monitor")},
        "database": {5432: of("worker", "gateway", "monitor"), 9187: of("monitor")},
        "gateway": {443: {"any"}, 8405: of("monitor"), 9464: of("monitor")},
        "monitor": {8405: of("monitor"), 9090: of("gateway", "monitor"), 5555: of("gateway", "monitor")},
    }
    for file in rendered.each("/etc/warren/firewall.nft"):
        served = {9100: of("monitor"), **expected[file.host.split("-")[0]]}
        wanted = {port: sources for port, sources in served.items() if sources}
        # The run came in by an SSH connection to port 2222.
        assert accepted(file.content) == {22: {"any"}, 2222: {"any"}, **wanted}, file.host
        assert "policy drop" in file.content
        assert file.content.count("{") == file.content.count("}")


def test_cloud_init_writes_the_names_again(rendered: Rendered) -> None:
    """With `manage_etc_hosts: true` it makes /etc/hosts at each boot from its template."""
    for file in rendered.each("/etc/cloud/templates/hosts.debian.tmpl"):
        assert file.content == rendered.text(file.host, "/etc/hosts")


@pytest.mark.skipif(not shutil.which("nft"), reason="nft is missing; the role itself checks before it writes")
def test_firewall_is_valid(rendered: Rendered, tmp_path: Path) -> None:
    for file in rendered.each("/etc/warren/firewall.nft"):
        rules = tmp_path / file.host
        rules.write_text(file.content)
        command = ["nft", "--check", "--file", str(rules)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if "Operation not permitted" in done.stderr:
            pytest.skip("nft --check needs root")
        assert done.returncode == 0, done.stderr
