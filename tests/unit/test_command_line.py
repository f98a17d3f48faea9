"""The commands as people use them: logs, status, shell, open, list, run, down, validate, completion."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labctl import VERSION
from labctl.commands import access, down, labs, logs, run, status, validate
from labctl.context import Context
from labctl.errors import UsageError
from labctl.machine import engine
from labctl.paths import DOCKER_INVENTORY, ROOT, LabPaths
from labctl.screen import Screen
from labctl.status import nodes
from labctl.substrates.containers import DockerSubstrate

JOURNAL = """#!/bin/sh
echo "$NODE $*" >> "$CALLS"
case "$*" in
  *--since=rubbish*) echo 'Failed to parse timestamp: rubbish' >&2; exit 1 ;;
  *nosuch*) echo 'Failed to add filter for units: No data available' >&2; exit 1 ;;
esac
[ "$NODE" != worker-2 ] || [ -z "$BROKEN" ] || { echo 'Error: container is not running' >&2; exit 1; }
case "$*" in
  *--output=json*)
    echo '{"__REALTIME_TIMESTAMP":"'$AT'000000","_SYSTEMD_UNIT":"x.service","MESSAGE":"from '$NODE'"}' ;;
  *) echo "2026-11-30T00:00:0$AT.5+0000 $NODE celery[1]: Task received" ;;
esac
case "$*" in *--follow*) exec sleep 60 ;; esac
"""


@dataclass
class Hosts:
    """Nodes on this machine, whose journalctl is a script; worker-2 wrote first."""

    folder: Path
    broken: bool = False
    names: dict[str, str] = field(default_factory=lambda: {"worker-1": "3", "worker-2": "1", "broker-1": "2"})

    def groups(self) -> dict[str, list[str]]:
        return {"brokers": ["broker-1"], "workers": ["worker-1", "worker-2"]}

    def shell(self, node: str, command: list[str], **_: bool) -> list[str]:
        given = {"NODE": node, "AT": self.names[node], "CALLS": self.folder / "calls"}
        given |= {"BROKEN": "1"} if self.broken else {"BROKEN": ""}
        path = f"PATH={self.folder}:{os.environ['PATH']}"
        return ["env", path, *(f"{key}={value}" for key, value in given.items()), *command]

    def url(self) -> str:
        return "https://127.0.0.1:8443"

    def console_password(self) -> str:
        return "a secret of the lab"

    def calls(self) -> list[str]:
        return sorted((self.folder / "calls").read_text().splitlines())


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    script = tmp_path / "journalctl"
    script.write_text(JOURNAL)
    script.chmod(0o755)
    return Hosts(tmp_path)


def context(hosts: Any, *, as_json: bool = False) -> Context:
    return Context(LabPaths("x", hosts.folder), hosts, Screen(json=as_json))


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line.split()[1] for line in capsys.readouterr().out.splitlines()]


def test_logs_of_nodes_and_units_are_in_order_of_time(
    hosts: Hosts, capsys: pytest.CaptureFixture[str]
) -> None:
    assert logs.command(context(hosts), logs.Choice(["worker"])) == 0
    assert shown(capsys) == ["worker-2", "broker-1", "worker-1"]
    assert all("--unit=*-worker@* --lines=100" in call for call in hosts.calls())
    (hosts.folder / "calls").unlink()
    assert logs.command(context(hosts), logs.Choice(["worker-1", "beat", "haproxy"], lines=7)) == 0
    assert shown(capsys) == ["worker-1"]
    (call,) = hosts.calls()
    assert call.endswith("--unit=*-beat.service --unit=haproxy --lines=7")


@pytest.mark.parametrize(
    ("since", "argument"), [("10m", "--since=-10m"), ("2h", "--since=-2h"), ("today", "--since=today")]
)
def test_logs_since_a_time_have_no_limit(hosts: Hosts, since: str, argument: str) -> None:
    assert logs.command(context(hosts), logs.Choice(["rabbitmq"], since=since)) == 0
    assert all(argument in call and "--lines" not in call for call in hosts.calls())


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (logs.Choice(["worker"], since="rubbish"), "--since 'rubbish' is no time"),
        (
            logs.Choice(["nosuch"]),
            r"No node has logs of nosuch; nodes are broker-1, worker-1, worker-2, units",
        ),
        (logs.Choice(["nosuch"], follow=True), "no such unit, or no answer"),
    ],
)
def test_logs_that_cannot_be_shown_are_a_sentence(hosts: Hosts, choice: logs.Choice, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        logs.command(context(hosts), choice)


def test_a_node_that_gives_no_journal_is_named_beside_the_others(
    hosts: Hosts, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts.broken = True
    assert logs.command(context(hosts), logs.Choice(["worker"])) == 1
    found = capsys.readouterr()
    assert len(found.out.splitlines()) == 2
    assert found.err == "The journal of worker-2 cannot be read: Error: container is not running\n"


def test_logs_as_json(hosts: Hosts, capsys: pytest.CaptureFixture[str]) -> None:
    assert logs.command(context(hosts, as_json=True), logs.Choice(["worker-1", "broker-1"])) == 0
    found = json.loads(capsys.readouterr().out)
    assert [entry["node"] for entry in found] == ["broker-1", "worker-1"]
    expected = {
        "time": "1970-01-01T00:00:02+00:00",
        "node": "broker-1",
        "unit": "x.service",
        "message": "from broker-1",
    }
    assert found[0] == expected


FOLLOW = """
import sys; sys.path.insert(0, {root!r})
from tests.unit.test_command_line import Hosts, context
from labctl.commands import logs
from pathlib import Path
sys.exit(logs.command(context(Hosts(Path({folder!r}))), logs.Choice(["worker"], follow=True)))
"""


def test_followed_units_of_every_node_end_with_the_command(hosts: Hosts) -> None:
    code = FOLLOW.format(root=str(ROOT), folder=str(hosts.folder))
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as program:
        assert program.stdout is not None
        lines = {program.stdout.readline().split()[1] for _ in range(3)}
        assert lines == {"broker-1", "worker-1", "worker-2"}
        program.send_signal(signal.SIGINT)
        assert program.wait(20) == 130
    deadline = time.monotonic() + 10
    while still(hosts.folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not still(hosts.folder)


def still(folder: Path) -> list[str]:
    """Programs that were started with this folder's journalctl first on PATH."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"CALLS={folder}" in entry.read_text(errors="replace"):
                found.append(entry.parent.name)
        except OSError:
            continue
    return found


def node(name: str, group: str, **services: str) -> dict[str, Any]:
    return {"name": name, "group": group, "state": "running", "services": services}


STATUS: dict[str, Any] = {
    "healthy": False,
    "problems": [
        {"condition": "UnitNotActive", "sentence": "nginx on worker-1 is failed."},
        {"condition": "UnitNotActive", "sentence": "nginx on worker-11 is failed."},
    ],
    "nodes": [
        node("broker-1", "brokers", **{"rabbitmq-server": "active", "lab-broker-check": "active"}),
        node(
            "worker-1",
            "workers",
            **{f"mosaic-worker@{name}": "active" for name in ("render", "long", "general")},
        ),
        node("worker-11", "workers", nginx="failed"),
    ],
    "cluster": {
        "members": ["broker-1"],
        "running": ["broker-1"],
        "partitions": [],
        "alarms": [],
        "seen_alike_by_all": True,
    },
    "workers": {"worker-1": ["celery", "mosaic.scale", "mosaic.host.worker-1"], "worker-11": ["mosaic.long"]},
    "queues": {
        name: {
            "type": "quorum",
            "vhost": "shop" if name.startswith("shop/") else "mosaic",
            "leader": "broker-1",
            "online": ["broker-1"],
            "members": ["broker-1"],
            "messages": 0,
            "consumers": 1,
        }
        for name in ("mosaic.scale", "mosaic.long", "mosaic.host.worker-1", "shop/celery")
    },
    "applications": {
        "mosaic": {
            "workers": {
                "worker-1": {f"mosaic-worker@{name}": "active" for name in ("render", "long", "general")}
            },
            "beat": {},
            "consumes": {"worker-1": ["mosaic.scale", "mosaic.host.worker-1"]},
            "queues": ["mosaic.scale", "mosaic.long", "mosaic.host.worker-1"],
        },
        "shop": {
            "workers": {"worker-1": {"shop-worker@default": "active"}},
            "beat": {"broker-1": {"shop-beat": "active"}},
            "consumes": {"worker-1": ["celery"]},
            "queues": ["shop/celery"],
        },
    },
    "alerts": [],
}


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "read", lambda *_, **__: json.loads(json.dumps(STATUS)))


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_status_fits_and_no_word_is_cut(
    columns: int,
    hosts: Hosts,
    answered: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert status.command(context(hosts)) == 1
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= columns
    for word in (
        "mosaic-worker@general",
        "mosaic.host.worker-1",
        "celery",
        "rabbitmq-server",
    ):
        assert re.search(rf"(?<!\S){re.escape(word)}(?!\S)", out), word
    assert out.index("mosaic-worker@general") < out.index("mosaic-worker@long")


def test_status_of_a_node_has_its_queues_and_its_problems(
    hosts: Hosts, answered: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status.command(context(hosts, as_json=True), ["worker-1"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [item["name"] for item in found["nodes"]] == ["worker-1"]
    assert [item["sentence"] for item in found["problems"]] == ["nginx on worker-1 is failed."]
    assert set(found["queues"]) == {"mosaic.scale", "mosaic.host.worker-1", "shop/celery"}
    assert found["applications"]["shop"]["workers"] == {"worker-1": {"shop-worker@default": "active"}}
    assert found["applications"]["shop"]["beat"] == {}
    assert found["applications"]["mosaic"]["queues"] == ["mosaic.scale", "mosaic.host.worker-1"]
    assert status.command(context(hosts), ["broker-1"]) == 0
    with pytest.raises(UsageError, match="No node is called 'worker-9'; there are broker-1, worker-1"):
        status.command(context(hosts), ["worker-9"])


@pytest.mark.parametrize(
    ("line", "added"),
    [
        ("rabbitmqctl list_queues", True),
        ("rabbitmqctl -q list_queues name messages", True),
        ("/usr/sbin/rabbitmqctl list_bindings", True),
        ("rabbitmqctl list_queues -p shop", False),
        ("rabbitmqctl --vhost=shop list_queues", False),
        ("rabbitmqctl list_vhosts", False),
        ("rabbitmqctl help list_queues --help", False),
        ("rabbitmqctl purge_queue list_queues_of_mine", False),
        ("echo list_queues", False),
        ("", False),
    ],
)
def test_rabbitmqctl_lists_the_vhost_of_the_application(line: str, added: bool) -> None:
    words = line.split()
    assert access.with_vhost(words) == words + (["--vhost", "mosaic"] if added else [])


def test_open_as_json(hosts: Hosts, capsys: pytest.CaptureFixture[str]) -> None:
    assert access.open_console(context(hosts, as_json=True), browser=False) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["password"] == "a secret of the lab"
    assert set(found) == {"url", "user", "password", "ca"}


def test_run_lists_the_playbooks_for_users(hosts: Hosts, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.listing(context(hosts, as_json=True)) == 0
    found = {item["name"]: item["summary"] for item in json.loads(capsys.readouterr().out)}
    assert {"site", "preflight"} <= set(found)
    assert not [name for name in found if name.startswith(("substrate", "drills", "group_vars"))]
    assert all(found.values())


def test_labs_are_listed_with_those_of_other_checkouts(tmp_path: Path) -> None:
    (tmp_path / ".lab" / "mine").mkdir(parents=True)
    state = {
        "lab": "mine",
        "network": "10.203.1.0/24",
        "published": {"gateway-1": {"443": 18443}},
        "nodes": {},
    }
    (tmp_path / ".lab" / "mine" / "lab.json").write_text(json.dumps(state))
    (tmp_path / ".lab" / "cloud" / "pki").mkdir(parents=True)
    (tmp_path / ".lab" / "damaged").mkdir()
    (tmp_path / ".lab" / "damaged" / "lab.json").write_text("{")
    for name in ("cache", "reports", "empty"):
        (tmp_path / ".lab" / name).mkdir()
    other: Any = SimpleNamespace(
        status="exited", labels={"warren.lab": "other", "warren.state": "/else/.lab/other"}
    )
    own: Any = SimpleNamespace(status="running", labels={"warren.lab": "mine"})
    found = labs.found(tmp_path / ".lab", {"other": [other], "mine": [own, own]})
    assert [(lab.name, lab.running, lab.nodes, lab.console) for lab in found] == [
        ("cloud", 0, 0, ""),
        ("damaged", 0, 0, ""),
        ("mine", 2, 2, "https://127.0.0.1:18443"),
        ("other", 0, 1, ""),
    ]
    assert found[-1].state == "/else/.lab/other"


@pytest.fixture
def lab_to_remove(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    def no_engine() -> Any:
        raise engine.EngineDownError("none")

    monkeypatch.setattr(engine, "require", no_engine)
    paths = LabPaths("precious", tmp_path)
    paths.state.mkdir(parents=True)
    return Context(paths, DockerSubstrate(paths), Screen())


def test_down_refuses_where_nobody_can_answer(
    lab_to_remove: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: False))
    with pytest.raises(UsageError, match=r"removes lab precious with all its data; .* run \./lab down --yes"):
        down.confirm(lab_to_remove, everything=False)
    with pytest.raises(UsageError, match=r"all images and all caches; .* \./lab down --all --yes"):
        down.confirm(lab_to_remove, everything=True)
    lab_to_remove.paths.state.rmdir()
    assert down.confirm(lab_to_remove, everything=False), "nothing would be lost"


@pytest.mark.parametrize("answer", [True, False])
def test_down_asks_a_person(lab_to_remove: Context, answer: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def confirm(text: str, **_: object) -> bool:
        asked.append(text)
        return answer

    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("click.confirm", confirm)
    assert down.confirm(lab_to_remove, everything=False) is answer
    assert asked == ["Remove lab precious with all its data?"]


HOSTS = """
brokers: {{hosts: {{b1: {{lab_address: 10.0.0.1}}}}}}
workers: {{hosts: {{w1: {{lab_address: {worker}}}}}}}
gateways: {{hosts: {{g1: {{lab_address: 10.0.0.3}}}}}}
databases: {{hosts: {{g1: }}}}
"""


@pytest.mark.parametrize(
    ("worker", "words"),
    [
        ("10.0.0.2", ""),
        ("10.0.0.1", "w1 and b1 have the same lab_address 10.0.0.1"),
        ("fd00::2", "lab_address of w1 is 'fd00::2', not an IPv4 address"),
        ("null", "lab_address of w1 is 'None', not an IPv4 address"),
    ],
)
def test_an_inventory_is_checked_without_its_hosts(
    worker: str,
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.delenv("LAB_INVENTORY", raising=False)
    file = tmp_path / "hosts.yml"
    file.write_text(HOSTS.format(worker=worker))
    if words:
        with pytest.raises(UsageError, match=re.escape(words)):
            validate.command(file, Screen())
    else:
        assert validate.command(file, Screen(json=True)) == 0
        assert json.loads(capsys.readouterr().out)["hosts"] == 3


def test_a_topology_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert validate.command(ROOT / "inventories/topology-trial.yml", Screen()) == 0
    assert "is valid: 3 hosts on 10.203.0.0/24 (1 brokers" in capsys.readouterr().out
    file = tmp_path / "t.yml"
    file.write_text("network: 10.0.0.0/24\ngroups: {brokers: {count: 2}}\n")
    with pytest.raises(UsageError, match=r"brokers\.count is 2, and an even number"):
        validate.command(file, Screen())
    with pytest.raises(UsageError, match="does not exist"):
        validate.command(tmp_path / "none.yml", Screen())
    assert validate.command(DOCKER_INVENTORY, Screen()) == 0


def lab(*words: str, **given: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "labctl", *words],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "LAB_NAME": "no-such-lab", **given},
    )


def test_the_version() -> None:
    assert lab("--version").stdout == f"Warren {VERSION}\n"


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("./lab lo", "logs"), ("./lab logs rab", "rabbitmq"), ("./lab status gate", "gateway-1")],
)
def test_the_shell_completes_commands_and_nodes(typed: str, offered: str) -> None:
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    assert lab(_LAB_COMPLETE="bash_complete", **words).stdout.splitlines() == [f"plain,{offered}"]
    assert "_lab_completion" in lab(_LAB_COMPLETE="bash_source").stdout
