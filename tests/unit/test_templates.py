"""What the roles would write: every template, with the roles' real defaults and the real inventory."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from labctl import topology
from labctl.inventory import inventory
from labctl.paths import LabPaths
from tests.unit.rendering import DOCKER, PLAYBOOKS, ROLES, Rendered, render

ODD = {"brokers": 1, "workers": 5, "gateways": 2, "databases": 1, "monitors": 1}


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """All files of the topology that a user starts with."""
    return render(tmp_path_factory.mktemp("usual"), DOCKER)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """All files of a lab with one broker, five workers, two gateways and a monitor."""
    folder = tmp_path_factory.mktemp("odd-inventory")
    content = yaml.safe_load(topology.TOPOLOGY_FILE.read_text())
    for group, count in ODD.items():
        content["groups"][group]["count"] = count
    data = json.dumps(inventory(LabPaths("odd", root=folder), topology.parse(content)))
    script = folder / "nodes"
    script.write_text(f"#!/bin/sh\ncat <<'END'\n{data}\nEND\n")
    script.chmod(0o755)
    (folder / "group_vars").symlink_to(DOCKER / "group_vars")
    return render(tmp_path_factory.mktemp("odd"), folder)


@pytest.fixture(params=["usual", "odd"])
def rendered(request: pytest.FixtureRequest) -> Rendered:
    """Either."""
    files: Rendered = request.getfixturevalue(request.param)
    return files


def hosts_of(rendered: Rendered, prefix: str) -> list[str]:
    """Hosts of a group by their names' beginning."""
    return sorted({file.host for file in rendered.files if file.host.startswith(f"{prefix}-")})


def addresses(rendered: Rendered) -> dict[str, str]:
    """Address of each host, as /etc/hosts of the first broker has it."""
    lines = rendered.text("broker-1", "/etc/hosts").splitlines()
    return {name: address for address, name in (line.split() for line in lines)}


def settings(text: str) -> dict[str, str]:
    """A flat `key = value` file; a key that is given twice or a line of another form fails."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        key, separator, value = (part.strip() for part in line.partition("="))
        assert separator, line
        assert value, line
        assert key not in found, f"{key} is given twice"
        found[key] = value
    return found


def test_every_template_is_used_and_renders(usual: Rendered) -> None:
    used = {file.template.rpartition("/")[2] for file in usual.files}
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
        "broker_monitor": "broker",
        "broker_mosaic": "worker gateway",
        "broker_mosaic_logs": "worker gateway",
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


def test_names_resolve_to_every_lab_address(rendered: Rendered) -> None:
    known = addresses(rendered)
    assert sorted(known) == sorted({file.host for file in rendered.files})
    assert len(set(known.values())) == len(known)
    for file in rendered.each("/etc/hosts"):
        assert file.content == rendered.text("broker-1", "/etc/hosts"), file.host


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cluster_partition_handling", "pause_minority"),
        ("default_queue_type", "quorum"),
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
    assert all(re.fullmatch(r"[A-Za-z0-9]{20,255}", cookie) for cookie in cookies)


def test_definitions_declare_users_without_their_passwords(rendered: Rendered) -> None:
    for file in rendered.each("/etc/rabbitmq/definitions.json"):
        definitions = json.loads(file.content)
        assert not any(secret in file.content for secret in rendered.secrets.values())
        assert {user["name"]: user["tags"] for user in definitions["users"]} == {
            "admin": ["administrator"],
            "monitor": ["monitoring"],
            "mosaic": [],
            "mosaic-logs": [],
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
        ("mosaic.logs", True),
        ("mosaic.host.worker-1", True),
        ("mosaic.dead", False),
    ],
)
def test_policy_dead_letters_all_but_dead_letters(rendered: Rendered, queue: str, applies: bool) -> None:
    policies = json.loads(rendered.text("broker-1", "/etc/rabbitmq/definitions.json"))["policies"]
    policy = next(policy for policy in policies if policy["name"] == "mosaic")
    assert bool(re.search(policy["pattern"], queue)) is applies
    wanted = {
        "dead-letter-exchange": "mosaic.dead",
        "dead-letter-strategy": "at-least-once",
        "overflow": "reject-publish",
    }
    assert wanted.items() <= policy["definition"].items()
    assert policy["definition"]["delivery-limit"] > 0


def test_proxy_has_one_verified_server_for_each_broker(rendered: Rendered) -> None:
    known, brokers = addresses(rendered), hosts_of(rendered, "broker")
    for file in rendered.each("/etc/haproxy/haproxy.cfg"):
        servers = [line.split() for line in file.content.splitlines() if line.strip().startswith("server ")]
        assert [words[1:3] for words in servers] == [[name, f"{known[name]}:5671"] for name in brokers]
        for words in servers:
            assert "ssl verify required ca-file /etc/warren/pki/ca.pem" in " ".join(words)
            assert words[words.index("verifyhost") + 1] == words[1]
        assert re.findall(r"^  bind (\S+)$", file.content, re.MULTILINE) == ["127.0.0.1:5672"]


def test_no_look_at_dead_letters_uses_them_up(rendered: Rendered) -> None:
    policies = json.loads(rendered.text("broker-1", "/etc/rabbitmq/definitions.json"))["policies"]
    policy = next(policy for policy in policies if re.search(policy["pattern"], "mosaic.dead"))
    assert policy["definition"] == {"delivery-limit": -1}


def test_proxy_asks_the_check_beside_the_broker_and_cuts_silent_sessions(rendered: Rendered) -> None:
    for file in rendered.each("/etc/haproxy/haproxy.cfg"):
        assert "tcp-check connect port 5670 ssl" in file.content
        assert "tcp-check expect string up" in file.content
        assert "on-marked-down shutdown-sessions" in file.content


def test_broker_check_looks_at_all_other_brokers(rendered: Rendered) -> None:
    known, brokers = addresses(rendered), hosts_of(rendered, "broker")
    for file in rendered.each("/etc/warren/broker-check.json"):
        found = json.loads(file.content)
        assert found["address"] == known[file.host]
        assert sorted(found["peers"]) == sorted(known[name] for name in brokers if name != file.host)


def test_every_client_host_has_a_proxy(rendered: Rendered) -> None:
    clients = hosts_of(rendered, "gateway") + hosts_of(rendered, "worker")
    assert set(clients) <= {file.host for file in rendered.each("/etc/haproxy/haproxy.cfg")}


def test_application_reaches_broker_by_loopback_and_database_by_verified_tls(rendered: Rendered) -> None:
    for file in rendered.each("/etc/mosaic/mosaic.toml"):
        config = tomllib.loads(file.content)
        assert config["host"] == file.host
        for key, user, secret in (
            ("url", "mosaic", "broker_mosaic"),
            ("logs_url", "mosaic-logs", "broker_mosaic_logs"),
        ):
            url = urlsplit(config["broker"][key])
            assert (url.scheme, url.hostname, url.port, url.path) == ("amqp", "127.0.0.1", 5672, "/mosaic")
            assert (url.username, unquote(url.password or "")) == (user, rendered.secrets[secret])
        database = urlsplit(config["database"]["url"])
        assert (database.username, database.hostname, database.path) == ("mosaic", "database-1", "/mosaic")
        assert "sslmode=verify-full" in database.query
        assert ("gateway" in config) is file.host.startswith("gateway-")


def test_owner_of_the_schema_is_another_role(rendered: Rendered) -> None:
    owner = tomllib.loads(rendered.text("gateway-1", "/etc/mosaic/owner.toml"))
    url = urlsplit(owner["database"]["url"])
    assert (url.username, url.password) == ("mosaic_owner", rendered.secrets["database_owner"])


def test_console_has_its_own_login(rendered: Rendered) -> None:
    gateway = tomllib.loads(rendered.text("gateway-1", "/etc/mosaic/mosaic.toml"))["gateway"]
    assert gateway["username"] == "lab"
    assert gateway["password"] == rendered.secrets["console_password"]
    assert gateway["session_key"] not in ("", gateway["password"])


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
    assert [words for words in lines if words[0] == "local"] == [["local", "all", "postgres", "peer"]]


def test_database_speaks_tls(rendered: Rendered) -> None:
    (file,) = rendered.each("/etc/postgresql/17/main/conf.d/lab.conf")
    found = settings(file.content)
    assert found["ssl"] == "on"
    assert found["password_encryption"] == "scram-sha-256"
    assert found["ssl_min_protocol_version"] == "'TLSv1.2'"


def accepted(rules: str) -> dict[int, set[str]]:
    """Sources by port of a firewall file: {port: addresses, "any" for all}."""
    pattern = re.compile(r"(?:ip saddr \{ (?P<from>[^}]*) \} )?tcp dport \{ (?P<ports>[^}]*) \} accept")
    found: dict[int, set[str]] = {}
    for line in rules.splitlines():
        match = pattern.search(line)
        if match:
            sources = set(match["from"].split(", ")) if match["from"] else {"any"}
            for port in match["ports"].split(", "):
                found.setdefault(int(port), set()).update(sources)
    return found


def test_firewall_lets_in_only_what_a_group_serves(rendered: Rendered) -> None:
    known = addresses(rendered)

    def of(*groups: str) -> set[str]:
        return {known[host] for group in groups for host in hosts_of(rendered, group)}

    expected: dict[str, dict[int, set[str]]] = {
        "broker": {
            5671: of("worker", "gateway", "monitor"),
            5670: of("broker", "worker", "gateway", "monitor"),
            4369: of("broker"),
            25672: of("broker"),
            15671: of("gateway", "monitor"),
            15691: of("monitor"),
        },
        "database": {5432: of("worker", "gateway", "monitor")},
        "gateway": {443: {"any"}},
    }
    for file in rendered.each("/etc/warren/firewall.nft"):
        served = expected.get(file.host.split("-")[0], {})
        wanted = {port: sources for port, sources in served.items() if sources}
        assert accepted(file.content) == {22: {"any"}, **wanted}, file.host
        assert "policy drop" in file.content
        assert file.content.count("{") == file.content.count("}")


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


def unit(text: str) -> configparser.RawConfigParser:
    """A systemd unit as sections of keys; of a key given twice the last counts."""
    parser = configparser.RawConfigParser(strict=False, delimiters=("=",), comment_prefixes=("#", ";"))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return parser


def units(rendered: Rendered) -> dict[str, configparser.RawConfigParser]:
    """Every unit file that is rendered, by its path."""
    return {file.path: unit(file.content) for file in rendered.files if file.path.endswith(".service")}


def test_units_start_what_is_installed_as_the_application(usual: Rendered) -> None:
    found = {path: parsed for path, parsed in units(usual).items() if "/mosaic-" in path}
    assert len(found) >= 5
    for path, parsed in found.items():
        service = parsed["Service"]
        assert service["ExecStart"].startswith("/opt/mosaic/venv/bin/"), path
        assert service["User"] == "mosaic", path
        assert parsed["Install"]["WantedBy"] == "multi-user.target", path


def test_units_are_started_when_they_say_so(usual: Rendered) -> None:
    for path, parsed in units(usual).items():
        assert parsed["Service"]["Type"] == "notify", path
        assert int(parsed["Service"]["TimeoutStartSec"]) > 0, path


def test_units_that_die_come_back() -> None:
    shared = unit((ROLES / "mosaic" / "files" / "units.conf").read_text())
    assert shared["Service"]["Restart"] == "always"
    assert shared["Unit"]["StartLimitIntervalSec"] == "0", "a dead broker must not exhaust the tries"
    assert shared["Service"]["NoNewPrivileges"] == "true"
    assert shared["Service"]["ProtectSystem"] == "strict"


def test_worker_stops_softly(usual: Rendered) -> None:
    (worker,) = {path: parsed for path, parsed in units(usual).items() if "worker@" in path}.values()
    service = worker["Service"]
    assert "REMAP_SIGTERM=SIGQUIT" in service["Environment"]
    assert service["KillMode"] == "mixed"
    assert int(service["TimeoutStopSec"]) > 20, "the application's soft shutdown takes up to 20 s"


def test_workers_of_a_host_consume_all_task_queues(rendered: Rendered) -> None:
    declared = yaml.safe_load((PLAYBOOKS / "group_vars" / "all.yml").read_text())["celery_worker_instances"]
    for host in hosts_of(rendered, "worker"):
        queues: list[str] = []
        for instance in declared:
            found = settings(rendered.text(host, f"/etc/mosaic/worker-{instance['name']}.env"))
            queues += found["WORKER_QUEUES"].split(",")
            assert int(found["WORKER_CONCURRENCY"]) >= 1
            assert int(found["WORKER_PREFETCH"]) >= 1
        shared = ["mosaic.render", "mosaic.scale", "mosaic.digest", "mosaic.upkeep", "mosaic.drill"]
        tasks = [*shared, f"mosaic.host.{host}"]
        assert sorted(queues) == sorted(tasks)


@pytest.mark.parametrize("name", ["ssl_certificate", "ssl_certificate_key", "listen"])
def test_web_server_setting(rendered: Rendered, name: str) -> None:
    expected = {
        "ssl_certificate": "/etc/warren/pki/host.pem",
        "ssl_certificate_key": "/etc/warren/pki/host.key",
        "listen": "443 ssl",
    }
    for file in rendered.each("/etc/nginx/conf.d/lab.conf"):
        assert re.findall(rf"^\s*{name} ([^;]+);", file.content, re.MULTILINE) == [expected[name]]


def test_web_server_and_api_agree(rendered: Rendered) -> None:
    site = rendered.text("gateway-1", "/etc/nginx/conf.d/lab.conf")
    gateway = tomllib.loads(rendered.text("gateway-1", "/etc/mosaic/mosaic.toml"))["gateway"]
    assert f"server unix:{gateway['socket']};" in site
    limit = re.search(r"client_max_body_size (\d+)m;", site)
    assert limit
    assert int(limit[1]) >= gateway["max_body_mb"], "the application answers in its own words"
