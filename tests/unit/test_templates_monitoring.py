"""What the roles would write for the monitor: whom it asks, where exporters listen, what the login guards."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from labctl.testing.devtools import PROMTOOL
from tests.unit.rendering import PLAYBOOKS, Rendered, addresses, hosts_of

EXPORTERS = {
    "/etc/default/prometheus-node-exporter": 9100,
    "/etc/default/prometheus-postgres-exporter": 9187,
    "/etc/default/prometheus": 9090,
}
CERTIFICATES = (
    "/etc/warren/node-exporter.yml",
    "/etc/warren/postgresql-exporter.yml",
    "/etc/warren/prometheus.yml",
)


def jobs(rendered: Rendered) -> dict[str, dict[str, Any]]:
    """Prometheus's jobs by their names."""
    content = yaml.safe_load(rendered.text("monitor-1", "/etc/prometheus/prometheus.yml"))
    return {job["job_name"]: job for job in content["scrape_configs"]}


def targets(job: dict[str, Any]) -> list[str]:
    """Its targets as host:port; the label instance is the host."""
    found = []
    for group in job["static_configs"]:
        (target,) = group["targets"]
        assert group["labels"]["instance"] == target.partition(":")[0]
        found.append(target)
    return sorted(found)


def test_targets_are_the_hosts_of_the_inventory(rendered: Rendered) -> None:
    def of(port: int, *groups: str) -> list[str]:
        return sorted(f"{host}:{port}" for group in groups for host in hosts_of(rendered, group))

    found = {name: targets(job) for name, job in jobs(rendered).items()}
    assert found == {
        "node": sorted(f"{host}:9100" for host in addresses(rendered)),
        "rabbitmq": of(15691, "broker"),
        "rabbitmq_queues": of(15691, "broker"),
        "haproxy": of(8405, "worker", "gateway", "monitor"),
        "postgresql": of(9187, "database"),
        "mosaic": of(9464, "gateway"),
        "flower": of(5555, "monitor"),
        "prometheus": of(9090, "monitor"),
    }


def test_targets_are_asked_over_tls_and_known_by_their_groups(rendered: Rendered) -> None:
    for name, job in jobs(rendered).items():
        assert job["scheme"] == "https", name
        assert job["tls_config"] == {"ca_file": "/etc/warren/pki/ca.pem", "min_version": "TLS12"}, name
    for group in jobs(rendered)["node"]["static_configs"]:
        labels = group["labels"]
        assert labels["groups"] == f"{labels['instance'].split('-')[0]}s"


def test_what_is_kept_holds_what_the_alerts_ask_for(rendered: Rendered) -> None:
    asked = {
        "rabbitmq": [
            "rabbitmq_unreachable_cluster_peers_count",
            "rabbitmq_alarms_memory_used_watermark",
            "rabbitmq_identity_info",
        ],
        "rabbitmq_queues": [
            "rabbitmq_detailed_queue_messages",
            "rabbitmq_detailed_queue_consumers",
            "rabbitmq_detailed_raft_term_total",
        ],
        "haproxy": ["haproxy_backend_active_servers"],
        "postgresql": ["pg_up"],
        "node": [
            "lab_certificate_not_after_seconds",
            "node_cpu_seconds_total",
            "node_memory_MemAvailable_bytes",
        ],
    }
    for name, metrics in asked.items():
        kept = [
            rule["regex"]
            for rule in jobs(rendered)[name]["metric_relabel_configs"]
            if rule["source_labels"] == ["__name__"]
        ]
        for metric in metrics:
            assert all(re.fullmatch(pattern, metric) for pattern in kept), f"{name}: {metric}"
    (queues,) = [
        rule["regex"]
        for rule in jobs(rendered)["rabbitmq_queues"]["metric_relabel_configs"]
        if rule["source_labels"] == ["queue"]
    ]
    for name in ("mosaic.host.worker-1", "celery", "orders", "shop.dead"):
        assert not re.fullmatch(queues, name)
    reply = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
    for name in (
        "celery_delayed_27",
        "celeryev.console.1",
        "default@worker-1.celery.pidbox",
        "celery.pidbox",
        reply,
    ):
        assert re.fullmatch(queues, name)


def test_declared_consumers_of_each_queue_are_workers_times_hosts(rendered: Rendered) -> None:
    (group,) = yaml.safe_load(rendered.text("monitor-1", "/etc/prometheus/rules/workers.yml"))["groups"]
    found = {
        (rule["labels"]["vhost"], rule["labels"]["queue"]): rule["expr"]
        for rule in group["rules"]
        if rule["record"] == "queue:workers:declared"
    }
    hosts = len(hosts_of(rendered, "worker"))
    assert found["mosaic", "mosaic.render"] == f"vector({hosts})"
    assert not [queue for _, queue in found if "%H" in queue or ".host." in queue]


@pytest.mark.skipif(
    not (shutil.which("promtool") or PROMTOOL.exists()), reason="promtool is missing; the role itself checks"
)
def test_configuration_of_prometheus_is_valid(rendered: Rendered, tmp_path: Path) -> None:
    program = shutil.which("promtool") or str(PROMTOOL)
    file = tmp_path / "prometheus.yml"
    file.write_text(rendered.text("monitor-1", "/etc/prometheus/prometheus.yml"))
    command = [program, "check", "config", "--syntax-only", str(file)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", EXPORTERS)
def test_exporters_listen_at_the_lab_address_over_tls(rendered: Rendered, path: str) -> None:
    known = addresses(rendered)
    for file in rendered.each(path):
        line = next(line for line in file.content.splitlines() if line.startswith("ARGS="))
        assert f"--web.listen-address={known[file.host]}:{EXPORTERS[path]} " in line
        assert "--web.config.file=/etc/warren/" in line


@pytest.mark.parametrize("path", CERTIFICATES)
def test_exporters_prove_themselves(rendered: Rendered, path: str) -> None:
    for file in rendered.each(path):
        assert yaml.safe_load(file.content)["tls_server_config"] == {
            "cert_file": "/etc/warren/pki/host.pem",
            "key_file": "/etc/warren/pki/host.key",
            "min_version": "TLS12",
        }


def test_the_database_is_asked_without_a_password(rendered: Rendered) -> None:
    (file,) = rendered.each("/etc/default/prometheus-postgres-exporter")
    assert 'DATA_SOURCE_NAME="user=prometheus host=/run/postgresql dbname=postgres"' in file.content


def test_one_gateway_follows_the_ledger(rendered: Rendered) -> None:
    found = {
        file.host: "MOSAIC_METRICS_LEDGER=1" in file.content
        for file in rendered.each("/etc/mosaic/metrics.env")
    }
    assert [host for host, follows in found.items() if follows] == ["gateway-1"]


def test_flower_may_use_events_and_nothing_else(rendered: Rendered) -> None:
    config = json.loads(rendered.text("monitor-1", "/etc/warren/flower.json"))
    secret = quote(rendered.secrets["broker_flower"], safe="")
    assert config["brokers"] == {"mosaic": f"amqp://mosaic-flower:{secret}@127.0.0.1:5672/mosaic"}
    assert (config["address"], config["url_prefix"]) == (addresses(rendered)["monitor-1"], "flower")
    permissions = json.loads(rendered.text("broker-1", "/etc/rabbitmq/definitions.json"))["permissions"]
    own = next(entry for entry in permissions if entry["user"] == "mosaic-flower")
    for right in ("configure", "write", "read"):
        assert re.search(own[right], "celeryev.1f0c") is not None
        for other in ("mosaic.tasks", "mosaic.render", "celery.pidbox", "xceleryev.1", "amq.default"):
            assert not re.search(own[right], other), f"{right} {other}"


def test_proxies_require_a_login_and_verify_the_monitor(rendered: Rendered) -> None:
    known = addresses(rendered)
    for file in rendered.each("/etc/nginx/lab.d/proxies.conf"):
        blocks = dict(
            re.findall(
                r"^  location (?:= )?(/\w+/(?:tasks/\w+)?) \{\n(.*?)^  \}",
                file.content,
                re.MULTILINE | re.DOTALL,
            )
        )
        assert set(blocks) == {"/flower/", "/flower/tasks/datatable", "/prometheus/", "/rabbitmq/"}
        for path, block in blocks.items():
            assert "auth_request /_lab_login;" in block, path
            # The table of Flower's tasks asks for its rows by POST.
            methods = "GET POST" if path.endswith("datatable") else "GET"
            assert f"limit_except {methods} {{ deny all; }}" in block, path
            assert 'proxy_set_header Cookie "";' in block, path
            assert ("proxy_ssl_verify on;" in block) is (path != "/rabbitmq/"), path
        assert "proxy_ssl_name monitor-1;" in blocks["/flower/"]
        login = base64.b64encode(f"monitor:{rendered.secrets['broker_monitor']}".encode()).decode()
        assert f'Authorization "Basic {login}"' in blocks["/rabbitmq/"]
        assert file.mode == "0600"
    for file in rendered.each("/etc/nginx/conf.d/lab.conf"):
        assert f"server {known['monitor-1']}:9090;" in file.content
        assert f"server {known['monitor-1']}:5555;" in file.content


def test_rabbitmq_pages_show_a_reader_no_form_that_changes_something(rendered: Rendered) -> None:
    for file in rendered.each("/etc/nginx/lab.d/proxies.conf"):
        (style,) = re.findall(r'sub_filter "</head>" \'(<style>[^\']*</style></head>)\';', file.content)
        changing = 'form:is([method="post"], [method="put"], [method="delete"]):not(.auto-submit)'
        assert style.startswith(f"<style>{changing}, ")
        assert style.count(changing) == 3
        assert "$" not in style, "nginx would take it for a variable"


def test_links_of_flower_that_led_nowhere_lead_to_what_the_lab_has(rendered: Rendered) -> None:
    for file in rendered.each("/etc/nginx/lab.d/proxies.conf"):
        (name,) = re.findall(r"location ~ \^/flower/worker/\(\?<lab_worker>(\[.*?\]\+)\)\$ \{", file.content)
        assert re.fullmatch(name, "mosaic:render@worker-1")
        assert not re.fullmatch(name, "render\r\nSet-Cookie: a=b"), "it becomes part of a header"
        assert 'return 302 "/rabbitmq/#/queues";' in file.content


def test_without_a_monitor_nothing_listens_for_it(unmonitored: Rendered) -> None:
    for file in unmonitored.each("/etc/haproxy/haproxy.cfg"):
        assert "*:8405" not in file.content
    for file in unmonitored.each("/etc/warren/firewall.nft"):
        for port in (8405, 9100, 9187, 9464, 15691):
            assert not re.search(rf"\b{port}\b", file.content), f"{port} of {file.host}"
    config = tomllib.loads(unmonitored.text("gateway-1", "/etc/mosaic/mosaic.toml"))
    assert config["lab"]["prometheus_url"] == ""
    declared = yaml.safe_load((PLAYBOOKS / "group_vars" / "all.yml").read_text())
    exporters = ("node_exporter_enabled", "postgresql_exporter_enabled", "mosaic_metrics_enabled")
    assert {declared[name] for name in exporters} == {"{{ lab_measured }}"}  # conditions are not rendered
