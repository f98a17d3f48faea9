"""Each kind of Docker engine works, or is refused in one sentence: recorded answers, and what ./lab says."""

from __future__ import annotations

import os
import stat
import subprocess
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labctl.ansible.failures import Failure, refusals
from labctl.errors import UsageError
from labctl.machine import checks, dockerd, engine, fitness, root
from labctl.paths import ROOT, LabPaths
from labctl.screen import Screen

HERE = "unix:///var/run/docker.sock"
# Parts of the answers of engine 20.10: the usual one, and one with userns-remap, live-restore, a mirror and
# another data-root, which ran beside it.
USUAL: dict[str, Any] = {
    "SecurityOptions": ["name=seccomp,profile=default"],
    "LiveRestoreEnabled": False,
    "DockerRootDir": "/var/lib/docker",
    "OperatingSystem": "Debian GNU/Linux 12 (bookworm)",
    "KernelVersion": os.uname().release,
    "MemTotal": 25276510208,
}
REMAPPED = USUAL | {
    "SecurityOptions": ["name=seccomp,profile=default", "name=userns"],
    "LiveRestoreEnabled": True,
    "DockerRootDir": "/srv/docker/100000.100000",
    "RegistryConfig": {"Mirrors": ["https://mirror.example/"]},
}
ROOTLESS = USUAL | {
    "SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless", "name=cgroupns"],
    "DockerRootDir": "/home/me/.local/share/docker",
}
SNAP = USUAL | {
    "SecurityOptions": ["name=apparmor", "name=seccomp,profile=builtin", "name=cgroupns"],
    "DockerRootDir": "/var/snap/docker/common/var-lib-docker",
}
DESKTOP = USUAL | {
    "SecurityOptions": ["name=seccomp,profile=unconfined", "name=cgroupns"],
    "OperatingSystem": "Docker Desktop",
    "KernelVersion": "6.10.14-linuxkit",
    "MemTotal": 4 * 2**30,
}


@pytest.mark.parametrize(
    ("host", "info"),
    [
        (HERE, USUAL),
        (HERE, USUAL | {k: REMAPPED[k] for k in ("LiveRestoreEnabled", "DockerRootDir", "RegistryConfig")}),
        (HERE, SNAP),
        ("unix:///home/me/.docker/desktop/docker.sock", DESKTOP),
        ("tcp://127.0.0.1:2375", USUAL),
    ],
    ids=["usual", "live-restore, mirror, data-root", "snap", "desktop", "by TCP"],
)
def test_what_can_run_nodes_is_not_refused(host: str, info: dict[str, Any]) -> None:
    fitness.require_here(host)
    fitness.require(host, info)


@pytest.mark.parametrize(
    ("host", "info", "sentence"),
    [
        (HERE, REMAPPED, r"maps root .*\(userns-remap\).*remove userns-remap from /etc/docker/daemon\.json"),
        ("unix:///run/user/1000/docker.sock", ROOTLESS, r"runs without root.*docker context use default"),
        ("ssh://me@server", USUAL, r"is on another machine.*run \./lab there"),
        ("tcp://192.0.2.7:2376", USUAL, r"is on another machine, but the console .* 127\.0\.0\.1"),
    ],
    ids=["userns-remap", "rootless", "SSH", "TCP"],
)
def test_what_cannot_run_nodes_is_refused_with_the_remedy(
    host: str, info: dict[str, Any], sentence: str
) -> None:
    check = partial(fitness.require, host, info) if info is not USUAL else partial(fitness.require_here, host)
    with pytest.raises(UsageError, match=f"^The Docker engine at {host} .*{sentence}") as refusal:
        check()
    assert refusal.value.exit_code == 2
    assert "\n" not in str(refusal.value)


def test_an_engine_is_refused_before_anything_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", HERE)
    monkeypatch.setenv("PATH", os.environ["PATH"])  # ensure() changes it
    monkeypatch.setattr(engine, "require", lambda: SimpleNamespace(info=lambda: REMAPPED))
    monkeypatch.setattr(root, "apt_install", lambda *_: pytest.fail("something was installed"))
    monkeypatch.setattr("shutil.which", lambda _name: None)
    with pytest.raises(UsageError, match="userns-remap"):
        engine.ensure(LabPaths("x", tmp_path), Screen())
    assert not list(tmp_path.iterdir())


def test_an_engine_elsewhere_is_refused_before_it_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "ssh://me@server")
    monkeypatch.setenv("PATH", os.environ["PATH"])
    monkeypatch.setattr(engine, "require", lambda: pytest.fail("it was asked"))
    with pytest.raises(UsageError, match="is on another machine"):
        engine.ensure(LabPaths("x", tmp_path), Screen())


def test_the_limits_of_an_engine_in_a_vm_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [fitness.is_in_a_vm(info) for info in (USUAL, SNAP, DESKTOP)] == [False, False, True]
    monkeypatch.setattr(checks, "available_memory_mb", lambda: 100_000)
    with pytest.raises(UsageError, match="4096 MB of memory are available"):
        checks.memory(10_000, DESKTOP["MemTotal"] // 2**20)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=9e9, folder=folder))
    checks.disk(LabPaths("x"), "", cold=True)


def test_a_data_root_that_this_user_cannot_see_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, **_: Any) -> os.stat_result:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "stat", refuse)  # root may see everything
    checks.disk(LabPaths("x", tmp_path), "/srv/closed/docker", cold=False)


# What iptables and dockerd print, and what the sentence names.
FIREWALLS = {
    "Failed to Setup IP tables: Unable to enable SKIP DNAT rule:  (iptables failed: iptables --wait -t nat -I"
    " DOCKER -i br-1a2b -j RETURN: iptables: No chain/target/match by that name.": (
        "a firewall manager (nftables, firewalld, ufw) removed the rules of Docker",
        "systemctl restart docker",
    ),
    "failed to create NAT chain DOCKER: iptables failed: iptables -t nat -N DOCKER: iptables v1.8.9"
    " (nf_tables): Failed to initialize nft: Protocol not supported": (
        "the kernel has no nf_tables",
        "update-alternatives --set iptables /usr/sbin/iptables-legacy",
    ),
    "iptables v1.8.9 (legacy): can't initialize iptables table `nat': Table does not exist (do you need to"
    " insmod?)": ("the kernel's modules of iptables are missing", "start this machine again"),
    "Failed to program NAT chain: ZONE_CONFLICT: 'docker0' already bound to a zone": (
        "firewalld has Docker's network in another zone",
        "firewall-cmd --permanent --zone=docker --change-interface=docker0",
    ),
}


@pytest.mark.parametrize(
    ("message", "named"), FIREWALLS.items(), ids=["rules", "nft", "modules", "firewalld"]
)
def test_a_firewall_that_stops_the_engine_is_named(
    message: str, named: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remedy = fitness.firewall(message)
    assert all(part in remedy for part in named)
    found = refusals([Failure("localhost", "Create the lab's network", f"Error: {message}")])
    assert found == [f"The Docker engine: {remedy}, then run ./lab up again (Error: {message})."]
    assert not refusals([Failure("localhost", "Create the lab's network", "Error: no space left on device")])
    paths = LabPaths("x", tmp_path)
    dockerd.log_file(paths).parent.mkdir(parents=True)
    dockerd.log_file(paths).write_text(f"level=info msg=start\nfailed to start daemon: {message}\n")
    monkeypatch.setattr("shutil.which", lambda _name: "/usr/sbin/dockerd")
    monkeypatch.setattr(root, "prefix", lambda: ())
    monkeypatch.setattr(engine, "_service_commands", list)
    monkeypatch.setattr(engine, "_answer_within", lambda *_: None)
    monkeypatch.setattr(dockerd, "start", lambda _paths: None)
    with pytest.raises(UsageError) as refusal:
        engine._install_and_start(paths, Screen())
    assert str(refusal.value).startswith("The Docker engine did not start: failed to start daemon: ")
    assert f"; {remedy} (log: " in str(refusal.value)


def test_the_snap_is_started_and_no_second_engine_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "docker"
    program.touch()
    monkeypatch.setattr(engine, "_SNAPS", (program,))
    monkeypatch.setattr("shutil.which", lambda name: None if name == "dockerd" else f"/bin/{name}")
    monkeypatch.setattr(root, "apt_install", lambda *_: pytest.fail("a second engine was installed"))
    monkeypatch.setattr(root, "prefix", lambda: ())
    asked: list[list[str]] = []

    def run(words: list[str], **_: Any) -> SimpleNamespace:
        asked.append(words)
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(root, "run", run)
    monkeypatch.setattr(engine, "_answer_within", lambda *_: SimpleNamespace())
    engine._install_and_start(LabPaths("x", tmp_path), Screen())
    assert asked == [["snap", "start", "docker"]]


CONFINED = """#!/bin/sh
# Like the program docker of the snap: it sees no file outside the user's home, and writes to pipes alone.
echo "$*" >>"$CALLS"
[ -p /dev/stdout ] || [ "$1" != export ] || exit 9
case $1 in
  cp) [ "$2" = - ] || exit 9; tar -t >>"$CALLS" ;;
  import) for word; do last=$previous; previous=$word; done; [ "$last" = - ] || exit 9; cat >/dev/null ;;
  wait) echo 0 ;;
  export) echo tree ;;
esac
"""


@pytest.fixture
def confined(tmp_path: Path) -> dict[str, str]:
    """An environment with a program docker as confined as that of the snap; it writes its calls to CALLS."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(CONFINED)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "CALLS": str(tmp_path / "calls"), "LAB_BASE_IMAGE": "debian:trixie"}


@pytest.mark.parametrize(
    ("script", "arguments", "carried"),
    [
        ("build-node-image", ["image:tag"], "etc/apt/apt.conf.d/90host"),
        ("build-vagrant-image", ["image:tag", "base"], "vagrant.pub"),
    ],
)
def test_an_image_is_built_by_a_program_that_sees_no_file_of_ours(
    script: str, arguments: list[str], carried: str, confined: dict[str, str]
) -> None:
    done = subprocess.run(
        [ROOT / "images" / script, *arguments], check=False, capture_output=True, text=True, env=confined
    )
    assert done.returncode == 0, done.stderr
    calls = Path(confined["CALLS"]).read_text()
    assert carried in calls
    assert "customize.sh" in calls


def test_no_proxy_alone_makes_no_images_of_its_own() -> None:
    def key(**given: str) -> str:
        base = {"PATH": os.environ["PATH"]}
        command = [str(ROOT / "images" / "build-node-image"), "--key"]
        return subprocess.check_output(command, text=True, env=base | given)

    assert key() == key(no_proxy="localhost")
    assert key() != key(https_proxy="http://proxy.example:3128")
