"""Why a host cannot be a node, each reason a sentence with its remedy."""

from __future__ import annotations

import io
import json
import runpy
import shutil
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

FILE = Path(__file__).resolve().parents[2] / "playbooks" / "files" / "preflight.py"
NOW = 1_800_000_000.0
GOOD: dict[str, Any] = {
    "host": "worker-1",
    "names": {"worker-1": "10.9.0.31", "broker-1": "10.9.0.11"},
    "releases": ["12", "13"],
    "memory_mb": 480,
    "disk_mb": 1500,
    "clock": NOW,
    "clock_seconds": 30,
}
TRIXIE = 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nID=debian\nVERSION_ID="13"\n'

Look = Callable[..., list[str]]


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> Look:
    """Run preflight.py on a host that is as described; returns its sentences."""

    def run(
        release: str = TRIXIE,
        memory_mb: int = 1024,
        disk_mb: int = 20000,
        clock: float = NOW,
        resolves: dict[str, str] | None = None,
        **expected: Any,
    ) -> list[str]:
        files = {
            "/etc/os-release": release,
            "/proc/meminfo": f"MemTotal: {memory_mb * 1024} kB\nMemFree: 1 kB\n",
        }
        known = GOOD["names"] if resolves is None else resolves

        def addresses(name: str, *_: object) -> list[tuple[object, ...]]:
            if name not in known:
                raise socket.gaierror(-2, "Name or service not known")
            return [(2, 1, 6, "", (address, 0)) for address in known[name].split()]

        read_text = Path.read_text

        def fake(path: Path, *arguments: Any, **keywords: Any) -> str:
            return files.get(str(path)) or read_text(path, *arguments, **keywords)

        output = io.StringIO()
        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_text", fake)
            patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=disk_mb * 2**20))
            patch.setattr(socket, "getaddrinfo", addresses)
            patch.setattr(time, "time", lambda: clock)
            patch.setattr(sys, "argv", [str(FILE), json.dumps({**GOOD, **expected})])
            patch.setattr(sys, "stdout", output)
            runpy.run_path(str(FILE), run_name="__main__")
        said = json.loads(output.getvalue())
        assert said["clock"] == clock
        sentences: list[str] = said["problems"]
        return sentences

    return run


def test_a_good_host_has_no_problem(look: Look) -> None:
    assert look() == []


def test_bookworm_is_known(look: Look) -> None:
    assert look(release=TRIXIE.replace("13", "12")) == []


@pytest.mark.parametrize(
    "release",
    [
        'PRETTY_NAME="Debian GNU/Linux 11 (bullseye)"\nID=debian\nVERSION_ID="11"\n',
        'PRETTY_NAME="Ubuntu 24.04 LTS"\nID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\n',
        'PRETTY_NAME="Debian GNU/Linux forky/sid"\nID=debian\n',
        "NAME=Alpine\nID=alpine\n",
    ],
)
def test_another_release(look: Look, release: str) -> None:
    (sentence,) = look(release=release)
    assert sentence.startswith("worker-1 runs ")
    assert sentence.endswith("install Debian 12 or 13.")


def test_a_release_that_does_not_suit_a_group_is_refused_with_the_reason(look: Look) -> None:
    release = TRIXIE.replace("13", "12").replace("trixie", "bookworm")
    (sentence,) = look(release=release, releases=["13"], unfit={"12": "its broker is old"})
    assert sentence == (
        "worker-1 runs Debian GNU/Linux 12 (bookworm), which the roles of its group do not support"
        " (its broker is old); install Debian 13."
    )


def test_too_little_memory(look: Look) -> None:
    (sentence,) = look(memory_mb=400)
    assert "worker-1 has 400 MB of memory and needs 480" in sentence


def test_too_little_disk(look: Look) -> None:
    (sentence,) = look(disk_mb=700)
    assert "700 MB free" in sentence
    assert "1500" in sentence


def test_clock_behind(look: Look) -> None:
    (sentence,) = look(clock=NOW - 3600)
    assert "3600 s behind" in sentence
    assert "timedatectl" in sentence


@pytest.mark.parametrize("seconds", [-29, 29, 90])
def test_clock_that_may_only_have_been_asked_late(look: Look, seconds: int) -> None:
    """Ahead is judged by the playbook, which knows when the answer arrived."""
    assert look(clock=NOW + seconds) == []


def test_a_name_that_does_not_resolve_yet_is_added_later(look: Look) -> None:
    assert look(resolves={}) == []


def test_a_name_that_resolves_to_loopback(look: Look) -> None:
    """As Vagrant boxes and cloud images write it; brokers could not find each other."""
    (sentence,) = look(resolves={"worker-1": "127.0.1.1"})
    assert "worker-1 resolves to 127.0.1.1, not to its lab_address 10.9.0.31" in sentence
    assert "/etc/hosts" in sentence


def test_a_name_that_resolves_to_more_than_its_address(look: Look) -> None:
    (sentence,) = look(resolves={"broker-1": "10.9.0.11 192.168.1.5"})
    assert "192.168.1.5" in sentence


def test_all_problems_are_reported_at_once(look: Look) -> None:
    found = look(release="ID=alpine\n", memory_mb=1, disk_mb=1, clock=0, resolves={"worker-1": "127.0.1.1"})
    assert len(found) == 5
    assert all(sentence.endswith(".") for sentence in found)
