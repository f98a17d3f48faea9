"""The state of a node, from the answers of systemd and of the broker."""

from __future__ import annotations

import importlib.util
import io
import json
import socket
import threading
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from labctl.paths import ROOT
from labctl.status.problems import CONDITIONS


@pytest.fixture
def node_status() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "node_status", ROOT / "labctl" / "status" / "node_status.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def unit(
    name: str, state: str = "active", *, load: str = "loaded", text: str = "", file: str = "enabled"
) -> dict[str, str]:
    return {
        "Id": f"{name}.service",
        "LoadState": load,
        "UnitFileState": file,
        "ActiveState": state,
        "StatusText": text,
    }


def services(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, groups: list[str], *units: dict[str, str]
) -> Any:
    monkeypatch.setattr(module, "CONFIGURATION", Path("/absent"))
    monkeypatch.setattr(module, "installed", lambda application: application in ("mosaic", "shop"))
    monkeypatch.setattr(module, "show", lambda _patterns: list(units))
    return module.services(groups)


def test_a_worker_names_the_queues_that_it_consumes(
    node_status: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    states, consuming = services(
        node_status,
        monkeypatch,
        ["workers"],
        unit("haproxy"),
        unit("mosaic-worker@render", text="consuming mosaic.render"),
        unit("mosaic-worker@general", "activating", text="consuming mosaic.scale"),
        unit("foreign-worker@1", "failed"),
        unit("foreign-beat", "failed"),
    )
    assert states == {
        "haproxy": "active",
        "mosaic-worker@render": "active",
        "mosaic-worker@general": "activating",
    }
    assert consuming == {"mosaic-worker@render": ["mosaic.render"]}


def test_a_worker_without_instances_misses_them(
    node_status: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    states, _ = services(node_status, monkeypatch, ["workers"], unit("haproxy", "inactive", load="not-found"))
    assert states == {"haproxy": "not-found", "*-worker@*": "not-found"}


@pytest.mark.parametrize("name", ["mosaic-log-store", "mosaic-beat", "shop-beat"])
@pytest.mark.parametrize(("file", "shown"), [("enabled", True), ("disabled", False), ("", False)])
def test_units_of_choice_are_shown_where_enabled(
    node_status: ModuleType, monkeypatch: pytest.MonkeyPatch, file: str, shown: bool, name: str
) -> None:
    """Of several gateways one runs beat."""
    states, _ = services(
        node_status, monkeypatch, ["gateways"], unit("nginx"), unit(name, "failed", file=file)
    )
    assert (name in states) == shown


@pytest.mark.parametrize(
    ("answer", "state", "failed"),
    [
        ("running", "running", {}),
        ("starting", "starting", {}),
        ("degraded", "running", {"lab-quorum-watch": "failed", "data.mount": "failed"}),
    ],
)
def test_all_units_that_failed_are_named(
    node_status: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    state: str,
    failed: dict[str, str],
) -> None:
    lines = "lab-quorum-watch.service loaded failed failed Watch\ndata.mount loaded failed failed Data\n"
    monkeypatch.setattr(
        node_status, "run", lambda *command: f"{answer}\n" if command[1] == "is-system-running" else lines
    )
    assert node_status.system() == (state, failed)


QUORUM_CHECK = "health/checks/node-is-quorum-critical"


class Api:
    """Stands for the management API: answers by the path's first word."""

    def __init__(self, **answers: Any) -> None:
        self._answers = answers

    def get(self, path: str) -> Any:
        return self._answers[path.partition("?")[0]]


def test_the_cluster_is_reported_with_host_names(node_status: ModuleType) -> None:
    nodes = [
        {"name": "rabbit@broker-2", "running": False},
        {
            "name": "rabbit@broker-1",
            "running": True,
            "partitions": ["rabbit@broker-2"],
            "mem_alarm": True,
            "disk_free_alarm": False,
        },
    ]
    assert node_status.cluster(Api(nodes=nodes, **{QUORUM_CHECK: {"status": "ok"}})) == {
        "members": ["broker-1", "broker-2"],
        "running": ["broker-1"],
        "partitions": [["broker-1", "broker-2"]],
        "alarms": ["broker-1: memory"],
        "endangered": [],
    }


def test_endangered_queues_are_named(node_status: ModuleType) -> None:
    class Refusing:
        def get(self, path: str) -> Any:
            body = json.dumps({"status": "failed", "queues": [{"name": "b"}, {"name": "a"}]}).encode()
            raise urllib.error.HTTPError(path, 503, "", Message(), io.BytesIO(body))

    assert node_status.endangered(Refusing()) == ["a", "b"]


def test_queues_name_leader_and_members(node_status: ModuleType) -> None:
    queue = {
        "name": "mosaic.render",
        "vhost": "mosaic",
        "type": "quorum",
        "leader": "rabbit@broker-3",
        "members": ["rabbit@broker-3", "rabbit@broker-1"],
        "messages": 5,
    }
    consumers = [{"queue": {"name": "mosaic.render", "vhost": "mosaic"}}] * 2
    assert node_status.queues(
        Api(queues=[queue, {"name": "bare"}], consumers=consumers), {"broker-2", "broker-3"}
    ) == {
        "mosaic.render": {
            "vhost": "mosaic",
            "type": "quorum",
            "leader": "broker-3",
            "members": ["broker-1", "broker-3"],
            "online": ["broker-3"],
            "messages": 5,
            "consumers": 2,
        },
        "bare": {
            "vhost": "",
            "type": "",
            "leader": "",
            "members": [],
            "online": [],
            "messages": 0,
            "consumers": 0,
        },
    }


def test_queues_of_one_name_in_two_vhosts_are_two(node_status: ModuleType) -> None:
    queues = [{"name": "celery", "vhost": vhost, "messages": n} for n, vhost in enumerate(("shop", "blog"))]
    consumers = [{"queue": {"name": "celery", "vhost": "blog"}}]
    found = node_status.queues(Api(queues=queues, consumers=consumers), set())
    figures = {name: (queue["messages"], queue["consumers"]) for name, queue in found.items()}
    assert figures == {"shop/celery": (0, 0), "blog/celery": (1, 1)}


def test_every_declared_worker_is_asked_for(
    node_status: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = [f"systemd/system/{name}-.service.d/lab.conf" for name in ("mosaic", "shop")]
    files = ["mosaic/worker-render.env", "shop/worker-default.env", "shop/shop.env", "foreign/worker-1.env"]
    for name in settings + files:
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    asked: list[str] = []
    monkeypatch.setattr(node_status, "CONFIGURATION", tmp_path)

    def show(patterns: list[str]) -> list[dict[str, str]]:
        asked.extend(patterns)
        return []

    monkeypatch.setattr(node_status, "show", show)
    node_status.services(["workers"])
    assert {"mosaic-worker@render", "shop-worker@default"} < set(asked)
    assert "foreign-worker@1" not in asked
    asked.clear()
    node_status.services(["brokers"])
    assert not [name for name in asked if "worker@" in name]


def test_what_does_not_answer_is_named_with_the_services(
    node_status: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Any,
) -> None:
    found = [unit("rabbitmq-server", "failed"), unit("haproxy"), unit("postgresql@17-main")]
    monkeypatch.setattr(node_status, "show", lambda _patterns: found)
    monkeypatch.setattr(node_status, "run", lambda *_: "5432 - rejecting connections\n")
    for name in ("MONITOR", "PROMETHEUS"):
        monkeypatch.setattr(node_status, name, tmp_path / "absent")
    monkeypatch.setattr(node_status, "PROXY", str(tmp_path / "absent.sock"))
    monkeypatch.setattr("sys.argv", ["node_status.py", "brokers", "databases", "monitors"])
    node_status.main()
    said = json.loads(capsys.readouterr().out)
    assert {unit["Id"].removesuffix(".service") for unit in found} == set(said["services"])
    unanswered = said["unanswered"]
    assert set(unanswered) == {"BrokerDown", "DatabaseDown", "MonitorDown", "ProxyFindsNoBroker"}
    assert set(unanswered) <= set(CONDITIONS)
    assert unanswered["DatabaseDown"] == "rejecting connections"
    assert not {"cluster", "queues", "alerts", "proxy"} & set(said)


@pytest.mark.parametrize("program", ["", "exit 1", "echo /run/postgresql:5432 - no response; exit 2"])
def test_a_database_that_does_not_answer(
    node_status: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str
) -> None:
    if program:
        (tmp_path / "pg_isready").write_text(f"#!/bin/sh\n{program}\n")
        (tmp_path / "pg_isready").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin" if program else str(tmp_path))
    with pytest.raises(OSError, match=r"no response|printed nothing|No such file"):
        node_status.database()


def test_a_proxy_names_the_brokers(
    node_status: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = ["brokers,broker-1,UP", "brokers,broker-2,DOWN 1/2", "management,broker-2,DOWN"]
    path = tmp_path / "admin.sock"
    monkeypatch.setattr(node_status, "PROXY", str(path))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def answer() -> None:
            with listener.accept()[0] as channel:
                assert channel.recv(100) == b"show stat -1 4 -1\n"
                channel.sendall("\n".join(["# pxname,svname,status", *rows, ""]).encode())

        thread = threading.Thread(target=answer)
        thread.start()
        assert node_status.proxy() == {"proxy": {"broker-1": "UP", "broker-2": "DOWN 1/2"}}
        thread.join()


def test_a_monitor_needs_prometheus_flower_and_its_proxy(
    node_status: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    states, _ = services(
        node_status,
        monkeypatch,
        ["monitors"],
        unit("lab-flower"),
        unit("prometheus", "failed"),
        unit("haproxy", "inactive", load="not-found"),
    )
    assert states == {"lab-flower": "active", "prometheus": "failed", "haproxy": "not-found"}


def test_systemd_is_asked_for_every_unit_of_the_groups(
    node_status: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def show(patterns: list[str]) -> list[dict[str, str]]:
        asked.extend(patterns)
        return []

    monkeypatch.setattr(node_status, "show", show)
    node_status.services(["monitors", "gateways"])
    assert {"prometheus", "lab-flower", "nginx", "mosaic-gateway"} <= set(asked)
    assert not {"rabbitmq-server", "postgresql@*-main"} & set(asked)
    assert len(asked) == len(set(asked)), "both groups have a proxy"


def test_only_firing_alerts_are_reported(
    node_status: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def alert(state: str) -> dict[str, Any]:
        labels = {"alertname": state.title(), "severity": "warning"}
        return {"state": state, "labels": labels, "annotations": {"summary": "It is so."}}

    body = json.dumps({"data": {"alerts": [alert("pending"), alert("firing")]}}).encode()
    asked: list[str] = []

    def urlopen(request: urllib.request.Request, **_: Any) -> io.BytesIO:
        asked.append(request.full_url)
        return io.BytesIO(body)

    settings = tmp_path / "prometheus"
    settings.write_text('ARGS="--web.listen-address=10.9.0.51:9090 --web.route-prefix=/prometheus/ --x=1"\n')
    monkeypatch.setattr(node_status, "PROMETHEUS", settings)
    monkeypatch.setattr("ssl.create_default_context", lambda **_: None)
    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    firing = [{"name": "Firing", "severity": "warning", "summary": "It is so."}]
    assert node_status.monitor() == {"alerts": firing}
    assert asked == ["https://10.9.0.51:9090/prometheus/api/v1/alerts"]
