"""This machine: checks, networks and ports, an engine's stale pid file."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labctl.errors import UsageError
from labctl.lab import state
from labctl.machine import checks, dockerd, engine, network, root
from labctl.paths import LabPaths
from labctl.screen import Screen
from labctl.topology import declaration


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


class FakeNetworks:
    """Stands for the engine's networks: [(name, subnet)]."""

    def __init__(self, *present: tuple[str, str]) -> None:
        self._present = present

    def list(self, names: list[str] | None = None) -> list[Any]:
        wanted = {name.strip("^$") for name in names or []}
        return [
            SimpleNamespace(name=name, attrs={"IPAM": {"Config": [{"Subnet": subnet}]}})
            for name, subnet in self._present
            if not names or name in wanted
        ]


def fake_engine(*networks: tuple[str, str]) -> Any:
    return SimpleNamespace(networks=FakeNetworks(*networks))


@pytest.fixture
def no_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labctl.machine.routes.read", list)


def test_a_taken_port_is_named_with_the_remedy(taken_port: int) -> None:
    with pytest.raises(
        UsageError, match=rf"Port {taken_port} of 127\.0\.0\.1, where gateway-1.*topology\.yml"
    ):
        checks.ports([("gateway-1", taken_port)])
    checks.ports([])


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _folder: SimpleNamespace(free=2e9))
    with pytest.raises(UsageError, match=r"has 2\.0 GB free and 6 GB are needed"):
        checks.disk(LabPaths("x", tmp_path), "/var/lib/docker", cold=True)
    checks.disk(LabPaths("x", tmp_path), "/no/such/folder", cold=False)


def test_too_little_memory_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "available_memory_mb", lambda: 1000)
    with pytest.raises(UsageError, match="1000 MB of memory are available and the nodes need about 4000 MB"):
        checks.memory(8000)
    checks.memory(2000)


def test_too_few_inotify_instances_name_the_sysctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "max_user_instances"
    limit.write_text("128\n", encoding="ascii")
    monkeypatch.setattr(checks, "INOTIFY", limit)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(root, "prefix", lambda: None)
    with pytest.raises(UsageError, match=r"sysctl -q -w fs\.inotify\.max_user_instances=\d{3}"):
        checks.inotify(9, Screen())
    limit.write_text("4096\n", encoding="ascii")
    checks.inotify(9, Screen())


def test_the_default_lab_takes_its_network_from_the_topology(tmp_path: Path, no_routes: None) -> None:
    paths = LabPaths("warren", tmp_path)
    settled = network.settle(paths, declaration.load(), fake_engine(("bridge", "172.17.0.0/16")))
    assert (settled.network, settled.published) == (
        "10.203.0.0/24",
        {"gateway-1": {443: 8443, 6671: 8671, 6432: 8432}},
    )
    assert settled.topology == "inventories/topology.yml"


@pytest.mark.parametrize("subnet", ["10.203.0.0/16", "10.203.0.128/25"])
def test_the_default_lab_refuses_an_overlap(tmp_path: Path, no_routes: None, subnet: str) -> None:
    with pytest.raises(
        UsageError, match=r"10\.203\.0\.0/24 of inventories/topology\.yml overlaps .*Docker network vpn"
    ):
        network.settle(LabPaths("warren", tmp_path), declaration.load(), fake_engine(("vpn", subnet)))


def test_a_network_changed_under_a_running_lab_is_refused(tmp_path: Path, no_routes: None) -> None:
    with pytest.raises(
        UsageError, match=r"runs on 10\.66\.0\.0/24 and .* now declares 10\.203\.0\.0/24; run \./lab down"
    ):
        network.settle(
            LabPaths("warren", tmp_path), declaration.load(), fake_engine(("warren", "10.66.0.0/24"))
        )


def test_another_lab_chooses_free_ones_once(tmp_path: Path, no_routes: None) -> None:
    paths = LabPaths("second", tmp_path)
    busy = fake_engine(("a", "10.203.1.0/24"), ("b", "10.203.2.0/24"))
    settled = network.settle(paths, declaration.load(), busy)
    assert settled.network == "10.203.3.0/24"
    assert settled.published["gateway-1"][443] >= network.FIRST_FREE_PORT
    state.write(paths, settled)
    assert network.settle(paths, declaration.load(), fake_engine(("second", "10.203.3.0/24"))) == settled
    third = network.settle(LabPaths("third", tmp_path), declaration.load(), busy)
    assert third.network == "10.203.4.0/24"
    assert third.published != settled.published


def test_a_pid_file_of_another_program_is_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(root, "run", lambda command: subprocess.run(command, check=True))
    for pid in (os.getpid(), 2**22 - 7):
        file = tmp_path / "docker.pid"
        file.write_text(f"{pid}\n", encoding="ascii")
        dockerd._remove_stale(file, "dockerd")
        assert not file.exists()
    own = Path("/proc/self/comm").read_text(encoding="ascii").strip()
    file.write_text(f"{os.getpid()}\n", encoding="ascii")
    dockerd._remove_stale(file, own)
    assert file.exists(), "its program runs"


def test_no_engine_and_no_root_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(root, "prefix", lambda: None)
    monkeypatch.setattr("shutil.which", lambda _name: None)
    monkeypatch.setattr(root, "is_debian_like", lambda: True)
    monkeypatch.delenv("DOCKER_HOST", raising=False)

    def down() -> Any:
        raise engine.EngineDownError("no socket")

    monkeypatch.setattr(engine, "require", down)
    with pytest.raises(
        UsageError, match=r"apt-get install --no-install-recommends docker\.io` as root"
    ) as caught:
        engine.ensure(LabPaths("x", tmp_path), Screen())
    assert caught.value.exit_code == 2
    monkeypatch.setattr("shutil.which", lambda _name: "/usr/sbin/dockerd")
    with pytest.raises(UsageError, match="is not running and starting it needs root: run `"):
        engine.ensure(LabPaths("x", tmp_path), Screen())


def test_an_engine_that_refuses_this_user_names_the_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(**_: object) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("docker.from_env", denied)
    monkeypatch.setattr(dockerd, "is_running", lambda: True)
    with pytest.raises(UsageError, match="usermod -aG docker"):
        engine.ensure(LabPaths("x", tmp_path), Screen())
    with pytest.raises(UsageError, match="usermod -aG docker"):
        engine.require()


def test_an_engine_elsewhere_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(UsageError, match=r"DOCKER_HOST=tcp://127\.0\.0\.1:1"):
        engine.ensure(LabPaths("x", tmp_path), Screen())
