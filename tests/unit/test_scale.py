"""./lab scale: the numbers of hosts that it takes, and what the lab remembers of them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2.nativetypes import NativeEnvironment

from labctl.ansible import playbooks
from labctl.commands import scale
from labctl.context import Context
from labctl.errors import UsageError
from labctl.lab import state
from labctl.machine import network, routes
from labctl.paths import ROOT, LabPaths
from labctl.screen import Screen
from labctl.substrates.containers import DockerSubstrate
from labctl.substrates.ssh import HostSubstrate
from labctl.topology import declaration

SAVED = state.LabState("x", "10.55.0.0/24", {}, {}, declaration.DEFAULT)


@pytest.fixture
def paths(tmp_path: Path) -> LabPaths:
    found = LabPaths("x", tmp_path)
    state.write(found, SAVED)
    return found


@pytest.fixture
def context(paths: LabPaths, monkeypatch: pytest.MonkeyPatch) -> Context:
    """A lab of containers in which a call of the engine or of Ansible fails the test."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("something is touched")

    monkeypatch.setattr(DockerSubstrate, "containers", lambda _self: {})
    for name in ("make", "remove"):
        monkeypatch.setattr(DockerSubstrate, name, refuse)
    monkeypatch.setattr(playbooks, "run", refuse)
    return Context(paths, DockerSubstrate(paths), Screen(json=True))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["workers=0"], "workers=0 is no number of hosts, 1 or more"),
        (["workers=-1"], "workers=-1 is no number"),
        (["workers=abc"], "workers=abc is no number"),
        (["workers="], "workers= is no number"),
        (["workers=1e3"], "is no number"),
        (["workers=²"], "is no number"),
        (["brokers=5"], "changes the number of worker hosts only, not of brokers"),
        (["hosts=5"], "There is no group 'hosts'"),
        (["5"], "'5' is not understood"),
        (["workers=4", "workers=5"], "is not understood"),
        (["workers=11"], r"workers=11 is too many: .*topology\.yml has addresses for 10 worker"),
        (["workers=9999"], "workers=9999 is too many"),
    ],
)
def test_bad_input_touches_nothing(context: Context, words: list[str], sentence: str) -> None:
    before = context.paths.lab_file.read_text()
    with pytest.raises(UsageError, match=sentence) as refused:
        scale.command(context, words)
    assert refused.value.exit_code == 2
    assert "\n" not in str(refused.value)
    assert str(refused.value).endswith(".")
    assert context.paths.lab_file.read_text() == before


def test_shared_hosts_are_not_scaled(context: Context, tmp_path: Path) -> None:
    data = yaml.safe_load((ROOT / declaration.DEFAULT).read_text())
    data["groups"]["monitors"] = {"share": "workers"}
    file = tmp_path / "own.yml"
    file.write_text(yaml.safe_dump(data))
    state.write(context.paths, replace(SAVED, topology=str(file)))
    with pytest.raises(UsageError, match="worker-1 is in monitors too"):
        scale.command(context, ["workers=4"])


def test_hosts_of_an_inventory_are_not_made(paths: LabPaths) -> None:
    hosts = HostSubstrate(paths, ROOT / "inventories/cloud")
    with pytest.raises(UsageError, match=r"makes containers.*\./lab run operations/scale\.yml"):
        scale.command(Context(paths, hosts, Screen()), ["workers=4"])


def test_numbers_are_shown(context: Context, capsys: pytest.CaptureFixture[str]) -> None:
    state.write(context.paths, replace(SAVED, counts={"workers": 5}))
    assert scale.command(context, []) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["workers"] == {
        "count": 5,
        "declared": 3,
        "hosts": [f"worker-{number}" for number in range(1, 6)],
    }
    assert shown["brokers"]["count"] == shown["brokers"]["declared"] == 3


def test_the_lab_keeps_the_number(paths: LabPaths) -> None:
    assert "counts" not in json.loads(paths.lab_file.read_text())
    state.write(paths, replace(SAVED, counts={"workers": 5}))
    assert len(state.current_topology(paths).group("workers")) == 5
    assert state.current_topology(paths).node("worker-5").address == "10.55.0.35"
    assert len(state.declared_topology(paths, {}).group("workers")) == 3


def test_another_topology_begins_with_its_own_number(
    paths: LabPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Client:
        class networks:  # noqa: N801 - as in the Docker SDK
            list = staticmethod(lambda **_: [])

    state.write(paths, replace(SAVED, counts={"workers": 5}))
    monkeypatch.setattr(routes, "read", list)
    client: Any = Client
    same = network.settle(paths, state.declared_topology(paths), client)
    assert same.counts == {"workers": 5}
    other = network.settle(paths, declaration.load(ROOT / "inventories/topology-trial.yml"), client)
    assert other.counts == {}


class Fake(DockerSubstrate):
    """Containers without an engine; it notes what is done, in order."""

    def __init__(self, paths: LabPaths, present: list[str]) -> None:
        super().__init__(paths)
        self.present = present
        self.done: list[object] = []

    def containers(self) -> dict[str, Any]:
        return dict.fromkeys(self.present)

    def states(self) -> dict[str, str]:
        names = [node.name for node in self.topology().nodes]
        return {name: "running" if name in self.present else "missing" for name in names}

    def make(self, screen: Screen, counts: Any = None) -> Any:  # noqa: ARG002
        if counts is not None:
            state.write(self._paths, replace(SAVED, counts=counts))
        new = [node.name for node in self.topology().nodes if node.name not in self.present]
        self.done.append(("make", *new))
        self.new = new
        self.present += new

    def remove(self, nodes: Any) -> None:
        self.done.append(("remove", *nodes))
        self.present = [name for name in self.present if name not in nodes]

    def unfinished(self) -> list[str]:
        return self.new

    def is_installed(self) -> bool:
        return True

    def remember_installed(self) -> None:
        self.done.append("remember")


@pytest.fixture
def fake(paths: LabPaths, monkeypatch: pytest.MonkeyPatch) -> Fake:
    found = Fake(paths, [node.name for node in declaration.load().nodes])

    def run(_paths: LabPaths, name: str, _step: Any, **options: Any) -> None:
        assert name == scale.PLAYBOOK
        assert options["arguments"][2:] == ["--tags", "hosts", "--skip-tags", "install"]
        found.done.append(options["variables"])

    monkeypatch.setattr(playbooks, "run", run)
    return found


def test_hosts_join_and_leave(fake: Fake, paths: LabPaths, capsys: pytest.CaptureFixture[str]) -> None:
    context = Context(paths, fake, Screen(json=True))
    assert scale.command(context, ["workers=5"]) == 0
    assert fake.done == [("make", "worker-4", "worker-5"), {"scale_add": "worker-4,worker-5"}, "remember"]
    assert json.loads(capsys.readouterr().out)["new"] == ["worker-4", "worker-5"]
    fake.done.clear()
    assert scale.command(context, ["workers=3"]) == 0
    assert fake.done == [
        {"scale_remove": "worker-4,worker-5"},
        ("remove", "worker-4", "worker-5"),
        ("make",),
        "remember",
    ]
    assert json.loads(capsys.readouterr().out)["gone"] == ["worker-4", "worker-5"]
    found = state.read(paths)
    assert found is not None
    assert found.counts == {}, "the number of the file needs no note"


def test_an_interrupted_drain_changes_no_number(
    fake: Fake, paths: LabPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(playbooks, "run", interrupt)
    context = Context(paths, fake, Screen(json=True))
    with pytest.raises(KeyboardInterrupt):
        scale.command(context, ["workers=1"])
    assert fake.done == []
    assert len(state.current_topology(paths).group("workers")) == 3


def test_a_node_of_a_lower_count_in_the_file_is_removed(fake: Fake, paths: LabPaths) -> None:
    fake.present.append("worker-7")
    assert scale.command(Context(paths, fake, Screen(json=True)), ["workers=3"]) == 0
    assert fake.done == [("remove", "worker-7"), ("make",), "remember"]


def test_the_playbook_configures_what_site_yml_configures_on_a_worker_host() -> None:
    """Roles of a worker host in the order of site.yml; a new role there must come here too."""
    site = yaml.safe_load((ROOT / "playbooks/site.yml").read_text())
    wanted = [
        role
        for play in site
        if {"all", "workers"} & set(re.split("[:,]", play.get("hosts", "")))
        for role in play["roles"]
    ]
    plays = yaml.safe_load((ROOT / "playbooks" / scale.PLAYBOOK).read_text())
    assert [role for play in plays for role in play.get("roles", [])] == wanted


def test_worker_hosts_are_listed_in_the_order_of_the_inventory() -> None:
    """A list in another order is a change for the next ./lab up."""
    variables = yaml.safe_load((ROOT / "playbooks/group_vars/all.yml").read_text())
    environment = NativeEnvironment()
    hosts = [f"worker-{number}" for number in range(1, 8)]
    known = {"groups": {"workers": hosts}, "lab_leaving": ["worker-6", "worker-7"]}
    found: Any = environment.from_string(variables["lab_workers"]).render(known)
    assert found == hosts[:5]
