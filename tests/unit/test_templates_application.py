"""What the roles would write for hosts that run the application: proxy, configuration, units, web server."""

from __future__ import annotations

import configparser
import json
import re
import tomllib
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from mosaic.kinds.kind import TASK_BYTES

from tests.unit.rendering import PLAYBOOKS, ROLES, Rendered, addresses, hosts_of, settings


def test_proxy_has_one_verified_server_for_each_broker(rendered: Rendered) -> None:
    known, brokers = addresses(rendered), hosts_of(rendered, "broker")
    for file in rendered.each("/etc/haproxy/haproxy.cfg"):
        servers = [line.split() for line in file.content.splitlines() if line.strip().startswith("server ")]
        ports = ["5671", "15671"] if file.host.startswith("gateway-") else ["5671"]
        assert [words[1:3] for words in servers] == [
            [name, f"{known[name]}:{port}"] for port in ports for name in brokers
        ]
        for words in servers:
            assert "ssl verify required ca-file /etc/warren/pki/ca.pem" in " ".join(words)
            assert words[words.index("verifyhost") + 1] == words[1]
        plain = ["127.0.0.1:5672", "127.0.0.1:15672"] if "15671" in ports else ["127.0.0.1:5672"]
        assert re.findall(r"^  bind (\S+)$", file.content, re.MULTILINE) == plain
        assert re.findall(r"^  bind (\S+ ssl .*)$", file.content, re.MULTILINE) == [
            "*:8405 ssl crt /etc/haproxy/host.pem"
        ]


def test_proxy_asks_the_check_of_the_broker_and_cuts_silent_sessions(rendered: Rendered) -> None:
    for file in rendered.each("/etc/haproxy/haproxy.cfg"):
        assert "tcp-check connect port 5670 ssl" in file.content
        assert "tcp-check expect string up" in file.content
        assert "on-marked-down shutdown-sessions" in file.content
        # Of an old process, which no longer checks.
        assert "  hard-stop-after 2s\n" in file.content


def test_every_client_host_has_a_proxy(rendered: Rendered) -> None:
    clients = [host for group in ("gateway", "worker", "monitor") for host in hosts_of(rendered, group)]
    assert set(clients) <= {file.host for file in rendered.each("/etc/haproxy/haproxy.cfg")}


def test_application_reaches_broker_by_loopback_and_database_by_verified_tls(rendered: Rendered) -> None:
    for file in rendered.each("/etc/mosaic/mosaic.toml"):
        config = tomllib.loads(file.content)
        assert config["host"] == file.host
        url = urlsplit(config["broker"]["url"])
        assert (url.scheme, url.hostname, url.port, url.path) == ("amqp", "127.0.0.1", 5672, "/mosaic")
        assert (url.username, unquote(url.password or "")) == ("mosaic", rendered.secrets["broker_mosaic"])
        database = urlsplit(config["database"]["url"])
        assert (database.username, database.hostname, database.path) == ("mosaic", "database-1", "/mosaic")
        assert "sslmode=verify-full" in database.query
        assert ("gateway" in config) is file.host.startswith("gateway-")


def test_owner_of_the_schema_is_another_role(rendered: Rendered) -> None:
    owner = tomllib.loads(rendered.text("gateway-1", "/etc/mosaic/owner.toml"))
    url = urlsplit(owner["database"]["url"])
    assert (url.username, unquote(url.password or "")) == ("mosaic_owner", rendered.secrets["database_owner"])


def test_console_has_its_own_login(rendered: Rendered) -> None:
    gateway = tomllib.loads(rendered.text("gateway-1", "/etc/mosaic/mosaic.toml"))["gateway"]
    assert gateway["username"] == "lab"
    assert gateway["password"] == rendered.secrets["console_password"]
    assert gateway["session_key"] not in ("", gateway["password"])


def test_console_watches_the_hosts_of_the_inventory_as_who_may_only_look(rendered: Rendered) -> None:
    watched = tomllib.loads(rendered.text("gateway-1", "/etc/mosaic/mosaic.toml"))["lab"]
    assert watched["brokers"] == hosts_of(rendered, "broker")
    declared = json.loads(rendered.text("gateway-1", "/etc/mosaic/applications.json"))
    assert declared["worker_hosts"] == hosts_of(rendered, "worker")
    assert (watched["monitor_user"], watched["monitor_password"]) == (
        "monitor",
        rendered.secrets["broker_monitor"],
    )
    monitors = hosts_of(rendered, "monitor")
    assert watched["prometheus_url"] == (f"https://{monitors[0]}:9090/prometheus" if monitors else "")
    assert "lab" not in tomllib.loads(rendered.text("worker-1", "/etc/mosaic/mosaic.toml"))


def test_proxy_tells_of_itself_where_the_application_asks(rendered: Rendered) -> None:
    for file in rendered.each("/etc/mosaic/mosaic.toml"):
        path = tomllib.loads(file.content)["broker"]["proxy_socket"]
        assert f"stats socket {path} mode 666 level user" in rendered.text(
            file.host, "/etc/haproxy/haproxy.cfg"
        )


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
        if parsed["Service"]["Type"] == "oneshot":
            assert path.replace(".service", ".timer") in {file.path for file in usual.files}, path
            continue
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


def test_a_worker_survives_the_end_of_a_pool_process(usual: Rendered) -> None:
    (worker,) = {path: parsed for path, parsed in units(usual).items() if "worker@" in path}.values()
    assert worker["Service"]["OOMPolicy"] == "continue"


def test_each_worker_has_memory_for_its_tasks(rendered: Rendered) -> None:
    """A process has about 95 MB without a task; forked ones share most of it, and keep some after a task."""
    applications = yaml.safe_load((PLAYBOOKS / "group_vars" / "all.yml").read_text())["lab_applications"]
    (declared,) = (application["workers"] for application in applications)
    for host in hosts_of(rendered, "worker"):
        for instance in declared:
            folder = f"/etc/systemd/system/mosaic-worker@{instance['name']}.service.d"
            limits = unit(rendered.text(host, f"{folder}/limits.conf"))["Service"]
            assert limits["MemoryMax"] == f"{instance['memory_mb']}M"
    (general,) = (instance for instance in declared if "mosaic.scale" in instance["queues"])
    assert "mosaic.digest" in general["queues"]
    task = TASK_BYTES / 2**20
    assert general["memory_mb"] >= 95 + general["concurrency"] * (task + 40)


def test_workers_of_a_host_consume_the_declared_queues(rendered: Rendered) -> None:
    applications = yaml.safe_load((PLAYBOOKS / "group_vars" / "all.yml").read_text())["lab_applications"]
    (declared,) = (application["workers"] for application in applications)
    for host in hosts_of(rendered, "worker"):
        queues: list[str] = []
        for instance in declared:
            found = settings(rendered.text(host, f"/etc/mosaic/worker-{instance['name']}.env"))
            queues += found["WORKER_QUEUES"].split(",")
            assert int(found["WORKER_CONCURRENCY"]) >= 1
            assert int(found["WORKER_PREFETCH"]) >= 1
        wanted = [queue.replace("%H", host) for instance in declared for queue in instance["queues"]]
        assert queues == wanted
        assert len(set(queues)) == len(queues)
        assert f"mosaic.host.{host}" in queues


def test_parts_of_minutes_have_workers_of_their_own(rendered: Rendered) -> None:
    for host in hosts_of(rendered, "worker"):
        found = settings(rendered.text(host, "/etc/mosaic/worker-long.env"))
        assert (found["WORKER_QUEUES"], found["WORKER_CONCURRENCY"], found["WORKER_PREFETCH"]) == (
            "mosaic.long",
            "1",
            "1",
        )


#: Lines of nginx.conf of Debian 12 and 13.
DEBIAN_NGINX = """pid /run/nginx.pid;
error_log /var/log/nginx/error.log;
http {
\taccess_log /var/log/nginx/access.log;
}
"""


@pytest.mark.parametrize("name", ["ssl_certificate", "ssl_certificate_key", "listen"])
def test_web_server_setting(rendered: Rendered, name: str) -> None:
    expected = {
        "ssl_certificate": "/etc/warren/pki/host.pem",
        "ssl_certificate_key": "/etc/warren/pki/host.key",
        "listen": "443 ssl http2",
    }
    for file in rendered.each("/etc/nginx/conf.d/lab.conf"):
        assert re.findall(rf"^\s*{name} ([^;]+);", file.content, re.MULTILINE) == [expected[name]]


def test_web_server_logs_failed_requests_to_the_journal(rendered: Rendered) -> None:
    for file in rendered.each("/etc/nginx/conf.d/lab.conf"):
        (log,) = re.findall(r"^\s*access_log ([^;]+);", file.content, re.MULTILINE)
        assert log == "syslog:server=unix:/dev/log,nohostname combined if=$lab_failed"


def test_errors_of_the_web_server_go_to_the_journal() -> None:
    (changes,) = [
        task["loop"]
        for task in yaml.safe_load((ROLES / "gateway/tasks/install.yml").read_text())
        if "ansible.builtin.replace" in task
    ]
    text = DEBIAN_NGINX
    for change in changes:
        text = re.sub(change["regexp"], change["replace"], text, flags=re.MULTILINE)
        assert not re.search(change["regexp"], text, re.MULTILINE), "a second run changes nothing"
    assert "\nerror_log syslog:server=unix:/dev/log,nohostname;\nworker_shutdown_timeout 10s;\n" in text
    assert "\n\taccess_log off;\n" in text


def test_web_server_and_api_agree(rendered: Rendered) -> None:
    site = rendered.text("gateway-1", "/etc/nginx/conf.d/lab.conf")
    gateway = tomllib.loads(rendered.text("gateway-1", "/etc/mosaic/mosaic.toml"))["gateway"]
    assert f"server unix:{gateway['socket']};" in site
    limit = re.search(r"client_max_body_size (\d+)m;", site)
    assert limit
    assert int(limit[1]) >= gateway["max_body_mb"], "the application answers in its own words"


def test_the_files_of_a_removed_worker_are_deleted_while_its_unit_is_loaded() -> None:
    """The next run finds a removed worker by its loaded unit, when this one is interrupted."""
    handlers = yaml.safe_load((ROLES / "celery_worker/handlers/main.yml").read_text())
    modules = [next(key for key in handler if key.startswith("ansible.builtin.")) for handler in handlers[:2]]
    assert modules == ["ansible.builtin.file", "ansible.builtin.systemd_service"]
    assert handlers[1]["loop"] == "{{ __celery_worker_surplus }}"
    assert handlers[0]["loop"].count("__celery_worker_surplus") == 2
