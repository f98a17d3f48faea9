"""lab.json, the current topology, and the lock."""

from __future__ import annotations

import json
import multiprocessing
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from labctl.errors import UsageError
from labctl.lab import state
from labctl.lab.files import make_private, remove_state
from labctl.lab.lock import exclusive
from labctl.paths import ROOT, LabPaths, lab_paths
from labctl.screen import Screen
from labctl.substrates.containers import DockerSubstrate

TRIAL = "inventories/topology-trial.yml"
SAVED = state.LabState(
    "x", "10.55.0.0/24", {"gateway-1": {443: 18443}}, {"broker-1": state.NodeRecord("c", "k")}, TRIAL
)


@pytest.fixture
def paths(tmp_path: Path) -> LabPaths:
    return LabPaths("x", tmp_path)


def test_what_is_written_is_read_back(paths: LabPaths) -> None:
    state.write(paths, SAVED)
    assert state.read(paths) == SAVED
    assert stat.S_IMODE(paths.lab_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(paths.state.stat().st_mode) == 0o700
    assert [file.name for file in paths.state.iterdir()] == ["lab.json"]


def test_a_lab_that_is_not_there_has_no_state(paths: LabPaths) -> None:
    assert state.read(paths) is None
    assert not paths.base.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"version": 99}', '{"version": 1, "lab": "x"}'])
def test_a_damaged_file_is_named_with_the_way_out(paths: LabPaths, text: str) -> None:
    make_private(paths.state)
    paths.lab_file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"lab\.json is damaged .*; run \./lab down"):
        state.read(paths)


def test_the_remembered_network_and_ports_are_in_force(paths: LabPaths) -> None:
    state.write(paths, SAVED)
    lab = state.current_topology(paths)
    assert lab.node("broker-1").address == "10.55.0.11"
    assert lab.url == "https://127.0.0.1:18443"


def test_lab_topology_is_in_force(paths: LabPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_TOPOLOGY", "molecule/topologies/brokers.yml")
    lab = state.current_topology(paths)
    assert [node.name for node in lab.nodes] == ["broker-1", "broker-2", "broker-3"]
    assert lab.url == ""


def test_a_lab_stays_with_the_topology_that_it_was_made_from(
    paths: LabPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.write(paths, SAVED)
    assert len(state.current_topology(paths).nodes) == 3
    monkeypatch.setenv("LAB_TOPOLOGY", "molecule/topologies/brokers.yml")  # for another lab, or for ./lab up
    assert state.current_topology(paths).source == TRIAL


def test_a_topology_that_was_edited_in_place_is_followed(paths: LabPaths, tmp_path: Path) -> None:
    file = tmp_path / "own.yml"
    file.write_text((ROOT / TRIAL).read_text())
    state.write(paths, replace(SAVED, topology=str(file)))
    before = len(state.current_topology(paths).group("brokers"))
    file.write_text((ROOT / TRIAL).read_text().replace("brokers: {count: 1", "brokers: {count: 3"))
    assert (before, len(state.current_topology(paths).group("brokers"))) == (1, 3)


def test_a_topology_that_is_gone_is_one_sentence(paths: LabPaths, tmp_path: Path) -> None:
    gone = tmp_path / "gone.yml"
    state.write(paths, replace(SAVED, topology=str(gone)))
    with pytest.raises(UsageError) as caught:
        state.current_topology(paths)
    assert str(caught.value).startswith(f"{gone} cannot be read ")
    assert "the lab was created from it: restore it, or set LAB_TOPOLOGY to another file for ./lab up" in str(
        caught.value
    )


def test_a_lab_of_before_follows_what_is_chosen_now(paths: LabPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    state.write(paths, SAVED)
    old = json.loads(paths.lab_file.read_text())
    del old["topology"]
    paths.lab_file.write_text(json.dumps(old))
    assert len(state.current_topology(paths).nodes) == 9
    monkeypatch.setenv("LAB_TOPOLOGY", TRIAL)
    assert len(state.current_topology(paths).nodes) == 3


@pytest.mark.parametrize(
    ("before", "chosen", "source", "words"),
    [
        ("", "", "inventories/topology.yml", ""),
        ("", TRIAL, TRIAL, f"topology {TRIAL}\n"),
        (TRIAL, "", TRIAL, f"topology {TRIAL}\n"),
        (TRIAL, TRIAL, TRIAL, f"topology {TRIAL}\n"),
        (
            TRIAL,
            "inventories/topology.yml",
            "inventories/topology.yml",
            f"topology inventories/topology.yml from now on, by LAB_TOPOLOGY; it was {TRIAL}\n",
        ),
    ],
)
def test_up_names_the_topology_that_it_follows(
    before: str,
    chosen: str,
    source: str,
    words: str,
    paths: LabPaths,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if before:
        state.write(paths, replace(SAVED, topology=before))
    monkeypatch.setenv("LAB_TOPOLOGY", chosen)
    assert DockerSubstrate(paths)._declared(Screen()).source == source
    assert capsys.readouterr().err == words


def test_lab_bake_shrinks_the_lab(paths: LabPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_BAKE", "1")
    lab = state.current_topology(paths)
    assert len(lab.nodes) == 5  # one of each group
    assert lab.url == ""


@pytest.mark.parametrize("name", ["Upper", "a_b", "-a", "a-", "a--b", "1a", "cache", "a/b", "a" * 33])
def test_an_unusable_lab_name_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("LAB_NAME", name)
    with pytest.raises(UsageError, match="is no usable name"):
        lab_paths()


def _hold(root: Path, held: object, done: object) -> None:
    with exclusive(LabPaths("x", root), "up"):
        held.set()  # type: ignore[attr-defined]
        done.wait(20)  # type: ignore[attr-defined]


def test_a_second_command_names_the_one_at_work(paths: LabPaths) -> None:
    context = multiprocessing.get_context("spawn")
    held, done = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(paths.root, held, done))
    holder.start()
    try:
        assert held.wait(20)
        with (
            pytest.raises(UsageError, match=rf"`\./lab up` \(process {holder.pid}\) is working on lab x"),
            exclusive(paths, "down"),
        ):
            pass
    finally:
        done.set()
        holder.join(20)


def test_a_killed_holder_leaves_no_lock(paths: LabPaths) -> None:
    context = multiprocessing.get_context("spawn")
    held, done = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(paths.root, held, done))
    holder.start()
    assert held.wait(20)
    holder.kill()
    holder.join(20)
    with exclusive(paths, "up"):
        pass


def test_the_lock_may_be_removed_with_the_lab_by_its_holder(paths: LabPaths) -> None:
    with exclusive(paths, "down"):
        remove_state(paths)
    assert not paths.base.exists()
    with exclusive(paths, "up"):
        assert (paths.state / "lock").exists()


def test_what_a_killed_lookup_left_is_gone_and_passwords_stay(paths: LabPaths) -> None:
    """The lock would stop every later run, and a file without a password would pass for one."""
    make_private(paths.secrets)
    (paths.secrets / f"{'0' * 40}.ansible_lockfile").touch(0o000)
    (paths.secrets / "broker_admin").touch(0o600)
    (paths.secrets / "console_password").write_text("kept\n")
    with exclusive(paths, "up"):
        assert [file.name for file in paths.secrets.iterdir()] == ["console_password"]
    assert (paths.secrets / "console_password").read_text() == "kept\n"


def test_taking_a_lock_does_not_load_docker() -> None:
    """Its client takes long to load, and most commands that lock never use it."""
    code = "import sys, labctl.lab.lock; sys.exit('docker' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
