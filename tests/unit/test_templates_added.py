"""Applications beside mosaic: each has its own units, environment, vhost, database and limits."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from tests.unit.rendering import ROLES, UNIT_STATE, Rendered, hosts_of
from tests.unit.test_templates_application import unit

ADDED = ("shop", "blog")
LAB_CELERY = "/usr/local/lib/warren/lab_celery.py"
PATTERNS = ("configure", "write", "read")


def definitions(rendered: Rendered) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = json.loads(
        rendered.text("broker-1", "/etc/rabbitmq/definitions.json")
    )
    return found


def environment(text: str) -> dict[str, str]:
    """Variables of a file for EnvironmentFile=; the quotes and escapes of systemd are those of a shell."""
    words = shlex.split(text, comments=True)
    return dict(word.split("=", 1) for word in words)


def test_each_application_has_units_of_its_own(shared: Rendered) -> None:
    worker = unit(shared.text("worker-1", "/etc/systemd/system/shop-worker@.service"))["Service"]
    beat = unit(shared.text("gateway-1", "/etc/systemd/system/shop-beat.service"))["Service"]
    for service in (worker, beat):
        assert (service["User"], service["Group"], service["Type"]) == ("shop", "shop", "notify")
        assert service["ExecStart"].startswith(
            "/opt/shop/current/venv/bin/python /usr/local/lib/warren/lab_celery.py -A shop.celery:app "
        )
    command = worker["ExecStart"]
    assert "--include lab_celery" in command
    assert "--task-events" in command, "Flower and the console show tasks by their events"
    assert " $WORKER_OPTIONS " in command, "without braces, so that systemd splits it into words"
    assert "WORKER_PREFETCH" not in command, "the application's own setting applies"
    assert "--without-gossip" not in command
    assert worker["EnvironmentFile"] == "/etc/shop/worker-%i.env"
    assert not [file for file in shared.files if file.path.endswith("/blog-beat.service")]


def test_a_worker_has_its_queues_and_options(shared: Rendered) -> None:
    for host in hosts_of(shared, "worker"):
        lines = shared.text(host, "/etc/shop/worker-mail.env").splitlines()
        assert f"WORKER_QUEUES=mail,mail on {host}" in lines
        assert "WORKER_CONCURRENCY=8" in lines
        assert "WORKER_OPTIONS=--pool threads" in lines
        assert "WORKER_OPTIONS" not in shared.text(host, "/etc/shop/worker-default.env")


def test_units_of_all_applications_are_started(shared: Rendered) -> None:
    asked: dict[str, dict[str, list[str]]] = {}
    for file in shared.each(UNIT_STATE):
        asked.setdefault(file.host, {}).update({e["unit"]: e["files"] for e in json.loads(file.content)})
    units = {"shop-worker@default.service", "shop-worker@mail.service", "blog-worker@default.service"}
    for host in hosts_of(shared, "worker"):
        assert units | {"mosaic-worker@render.service"} < asked[host].keys()
        assert "/etc/shop/shop.env" in asked[host]["shop-worker@mail.service"]
        assert "/opt/shop/installed" in asked[host]["shop-worker@mail.service"]
        assert LAB_CELERY in asked[host]["shop-worker@mail.service"]
        assert LAB_CELERY not in asked[host]["mosaic-worker@render.service"]
    assert {"shop-beat.service", "mosaic-beat.service"} < asked["gateway-1"].keys()
    for beat in ("shop-beat.service", "mosaic-beat.service"):
        assert LAB_CELERY in asked["gateway-1"][beat]


def test_celery_finds_broker_and_results_in_the_environment(shared: Rendered) -> None:
    for host in (*hosts_of(shared, "worker"), *hosts_of(shared, "gateway")):
        found = environment(shared.text(host, "/etc/shop/shop.env"))
        broker = urlsplit(found["CELERY_BROKER_URL"])
        assert (broker.scheme, broker.hostname, broker.port, broker.path) == (
            "amqp",
            "127.0.0.1",
            5672,
            "/shop",
        )
        assert (broker.username, unquote(broker.password or "")) == ("shop", shared.secrets["broker_shop"])
        for name, scheme in (
            ("CELERY_RESULT_BACKEND", "db+postgresql+psycopg"),
            ("DATABASE_URL", "postgresql"),
        ):
            database = urlsplit(found[name])
            assert (database.scheme, database.hostname, database.path) == (scheme, "database-1", "/shop")
            assert (database.username, database.password) == ("shop", shared.secrets["database_shop"])
            assert "sslmode=verify-full" in database.query
        assert found["GREETING"] == 'say "hi" for $5'
        assert found["PORT"] == "8000"


@pytest.mark.parametrize("name", ADDED)
def test_no_file_of_one_application_holds_a_secret_of_another(shared: Rendered, name: str) -> None:
    secrets = {key: value for key, value in shared.secrets.items() if key.endswith(f"_{name}")}
    assert len(secrets) == 2
    for file in shared.files:
        held = [key for key, secret in secrets.items() if secret in file.content]
        assert not held or file.path == f"/etc/{name}/{name}.env", f"{file.path} holds {held}"
    for file in shared.each(f"/etc/{name}/{name}.env"):
        assert file.mode == "0640"
        assert not [
            key for key, secret in shared.secrets.items() if secret in file.content and key not in secrets
        ]


@pytest.mark.parametrize("name", ADDED)
def test_settings_of_units_do_not_change_with_the_other_applications(shared: Rendered, name: str) -> None:
    """An application restarts when its settings change, so they name no application that comes and goes."""
    text = shared.text("worker-1", f"/etc/systemd/system/{name}-.service.d/lab.conf")
    hidden = re.findall("^InaccessiblePaths=-(.+)$", text, re.MULTILINE)
    assert {"/etc/mosaic", "/opt/mosaic", "/var/lib/mosaic"} < set(hidden)
    assert not [other for other in ADDED if other != name and other in text]
    settings = unit(text)["Service"]
    assert settings["EnvironmentFile"] == f"/etc/{name}/{name}.env"
    assert (settings["Slice"], settings["ProtectSystem"]) == (f"{name}.slice", "strict")
    limits = unit(shared.text("worker-1", f"/etc/systemd/system/{name}.slice"))["Slice"]
    assert limits["MemoryMax"] == "512M"
    assert limits["TasksMax"] == "512"


def test_each_application_has_a_vhost_in_which_it_declares_its_queues(shared: Rendered) -> None:
    found = definitions(shared)
    assert {vhost["name"]: vhost["default_queue_type"] for vhost in found["vhosts"]} == {
        "mosaic": "quorum",
        "shop": "classic",
        "blog": "classic",
    }
    assert {user["name"]: user["tags"] for user in found["users"]}["shop"] == []
    (permission,) = [entry for entry in found["permissions"] if entry["user"] == "shop"]
    assert permission["vhost"] == "shop", "and no other"
    for pattern in PATTERNS:
        for name in (
            "celery",
            "celeryev",
            "amq.default",
            "amq.gen-x",
            "x.reply.celery.pidbox",
            "queue with space",
        ):
            assert re.search(permission[pattern], name), name
        assert not re.search(permission[pattern], "amq.rabbitmq.trace")
    monitored = {entry["vhost"] for entry in found["permissions"] if entry["user"] == "monitor"}
    assert monitored == {"mosaic", "shop", "blog"}
    assert not [policy for policy in found["policies"] if policy["vhost"] != "mosaic"]


def test_each_application_may_connect_to_its_own_database_only(shared: Rendered) -> None:
    (file,) = shared.each("/etc/postgresql/17/main/pg_hba.conf")
    rules = [line.split() for line in file.content.splitlines() if line.startswith("hostssl")]
    assert {(rule[1], rule[2]) for rule in rules} == {
        ("mosaic", "mosaic_owner"),
        ("mosaic", "mosaic"),
        ("shop", "shop"),
        ("blog", "blog"),
    }
    assert len(rules) == len({tuple(rule) for rule in rules})


def test_mosaic_is_as_without_the_others(shared: Rendered, usual: Rendered) -> None:
    def own(rendered: Rendered) -> dict[str, str]:
        shown = ("/etc/mosaic/worker-", "/etc/systemd/system/mosaic-")
        return {
            file.path: file.content
            for file in rendered.files
            if file.host in ("worker-1", "gateway-1") and file.path.startswith(shown)
        }

    assert own(shared) == own(usual)
    assert len(own(usual)) >= 8


def scraped_queues(rendered: Rendered) -> tuple[list[str], re.Pattern[str]]:
    """The vhosts whose queues Prometheus asks for, and which of the queues it keeps."""
    jobs = yaml.safe_load(rendered.text("monitor-1", "/etc/prometheus/prometheus.yml"))["scrape_configs"]
    (job,) = (entry for entry in jobs if entry["job_name"] == "rabbitmq_queues")
    return job["params"]["vhost"], re.compile(job["metric_relabel_configs"][1]["regex"])


def test_the_monitor_keeps_the_queues_of_every_application(shared: Rendered) -> None:
    vhosts, dropped = scraped_queues(shared)
    assert vhosts == ["mosaic", "shop", "blog"]
    for name in (
        "mosaic.render",
        "celery",
        "mail on worker-2",
        "a queue that no worker is declared to consume",
    ):
        assert not dropped.fullmatch(name), name
    for name in ("celery_delayed_27", "celeryev.x", "default@worker-1.celery.pidbox"):
        assert dropped.fullmatch(name), name


def test_the_database_server_needs_no_restart_for_the_rules_of_an_application(shared: Rendered) -> None:
    asked = [json.loads(file.content) for file in shared.each(UNIT_STATE) if file.host == "database-1"]
    server = [entry["files"] for entries in asked for entry in entries if "postgresql@" in entry["unit"]]
    restart, reload = server
    assert not [path for path in restart if "pg_hba" in path]
    assert reload == ["/etc/postgresql/17/main/pg_hba.conf"]
    configure = yaml.safe_load((ROLES / "postgresql/tasks/configure.yml").read_text())
    (task,) = [task for task in configure if task.get("notify") == "Reload the database server"]
    assert task["vars"]["__postgresql_rules"]


def test_no_application_can_use_all_connections_of_the_database_server() -> None:
    create, *_ = yaml.safe_load((ROLES / "postgresql/tasks/databases.yml").read_text())
    limit = create["community.postgresql.postgresql_user"]["conn_limit"]
    assert "postgresql_application_connections if item in postgresql_application_passwords" in limit
    defaults = yaml.safe_load((ROLES / "postgresql/defaults/main.yml").read_text())
    assert 3 * defaults["postgresql_application_connections"] < defaults["postgresql_max_connections"]


def test_ports_for_programs_of_this_machine_are_open_only_while_connect_is_in_use(
    shared: Rendered, usual: Rendered
) -> None:
    proxy, firewall = "/etc/haproxy/haproxy.cfg", "/etc/warren/firewall.nft"
    for port in ("6671", "6432"):
        assert f"  bind :{port}\n" in shared.text("gateway-1", proxy)
        assert re.search(
            rf"^ +tcp dport {{.*\b{port}\b.*}} accept$", shared.text("gateway-1", firewall), re.MULTILINE
        )
        for rendered, host in ((shared, "worker-1"), (usual, "gateway-1")):
            assert port not in rendered.text(host, proxy)
            assert port not in rendered.text(host, firewall)
    assert "  server broker-1 10.203.0.11:5671 track brokers/broker-1 " in shared.text("gateway-1", proxy)
    assert "  server database 10.203.0.41:5432\n" in shared.text("gateway-1", proxy)


def test_the_console_knows_each_application_and_reads_its_events_only(shared: Rendered) -> None:
    for host in hosts_of(shared, "gateway"):
        (file,) = [
            one for one in shared.files if (one.host, one.path) == (host, "/etc/mosaic/applications.json")
        ]
        assert file.mode == "0640"
        declared = json.loads(file.content)
        assert [one["name"] for one in declared["applications"]] == list(ADDED)
        assert (declared["user"], declared["password"]) == ("mosaic-flower", shared.secrets["broker_flower"])
        assert [one["name"] for one in declared["applications"][0]["workers"]] == ["default", "mail"]
    permissions = [one for one in definitions(shared)["permissions"] if one["user"] == "mosaic-flower"]
    assert sorted(one["vhost"] for one in permissions) == sorted(["mosaic", *ADDED])
    for one in permissions:
        assert not any(re.search(one[pattern], "celery") for pattern in PATTERNS)
        assert not re.search(one["write"], "celeryev"), "it sends no events"
    users = [one["name"] for one in definitions(shared)["users"]]
    assert users.count("mosaic-flower") == 1


def test_the_monitor_knows_each_application(shared: Rendered) -> None:
    brokers = json.loads(shared.text("monitor-1", "/etc/warren/flower.json"))["brokers"]
    assert {vhost: urlsplit(url).path for vhost, url in brokers.items()} == {
        name: f"/{name}" for name in ("mosaic", *ADDED)
    }
    (group,) = yaml.safe_load(shared.text("monitor-1", "/etc/prometheus/rules/workers.yml"))["groups"]
    expressions = {(one["labels"]["vhost"], one["labels"]["queue"]): one["expr"] for one in group["rules"]}
    assert expressions["shop", "mail"] == f"vector({len(hosts_of(shared, 'worker'))})"
