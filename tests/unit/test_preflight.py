"""Why a host cannot be a node, each reason a sentence with its remedy."""

from __future__ import annotations

import fcntl
import io
import json
import platform
import runpy
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

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
    "cpu_flags": ["cx16", "pni", "sse4_2", "ssse3"],
    "brokers": [],
    "database": False,
    "wait_seconds": 0,
}
ADDRESS = "10.9.0.31"
TRIXIE = 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nID=debian\nVERSION_ID="13"\n'

Look = Callable[..., list[str]]


class Socket:
    """Binds to the addresses of the host only."""

    def __init__(self, *_: object) -> None:
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def bind(self, wanted: tuple[str, int]) -> None:
        if wanted[0] != ADDRESS:
            raise OSError(99, "Cannot assign requested address")


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Run preflight.py on a host that has only the described files; returns its report."""

    def run(
        release: str = TRIXIE,
        memory_mb: int = 1024,
        disk_mb: int = 20000,
        clock: float = NOW,
        files: dict[str, str] | None = None,
        held: str = "",
        **expected: Any,
    ) -> dict[str, Any]:
        known = {
            "/etc/os-release": release,
            "/proc/meminfo": f"MemTotal: {memory_mb * 1024} kB\nMemFree: 1 kB\n",
            "/proc/cpuinfo": "processor: 0\nflags\t\t: fpu pni cx16 sse4_1 sse4_2 ssse3 avx\n",
            "/etc/hosts": "127.0.0.1 localhost\n::1 localhost ip6-localhost\n",
            "/etc/nsswitch.conf": "passwd: files\nhosts: files myhostname dns\n",
            **(files or {}),
        }

        def text(path: Path, *_: Any, **__: Any) -> str:
            if str(path) not in known:
                raise FileNotFoundError(path)
            return known[str(path)]

        def glob(folder: Path, pattern: str) -> Iterator[Path]:
            return (Path(file) for file in known if fnmatchcase(file, f"{folder}/{pattern}"))

        def lock(file: io.StringIO, _: int) -> None:
            if held and file.getvalue() == known.get(held):
                raise BlockingIOError(11, "Resource temporarily unavailable")

        output = io.StringIO()
        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_text", text)
            patch.setattr(Path, "glob", glob)
            patch.setattr(Path, "exists", lambda path: str(path) in known)
            patch.setattr(Path, "open", lambda path, *_, **__: io.StringIO(text(path)))
            patch.setattr(fcntl, "lockf", lock)
            patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=disk_mb * 2**20))
            patch.setattr(socket, "socket", Socket)
            patch.setattr(platform, "machine", lambda: "x86_64")
            patch.setattr(time, "time", lambda: clock)
            patch.setattr(sys, "argv", [str(FILE), json.dumps({**GOOD, **expected})])
            patch.setattr(sys, "stdout", output)
            runpy.run_path(str(FILE), run_name="__main__")
        said: dict[str, Any] = json.loads(output.getvalue())
        assert said["clock"] == clock
        return said

    return run


@pytest.fixture
def look(report: Callable[..., dict[str, Any]]) -> Look:
    """The sentences of the report."""

    def run(**host: Any) -> list[str]:
        sentences: list[str] = report(**host)["problems"]
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


@pytest.mark.parametrize("name", ["broker-1.example.com", "Broker-1", "b" * 64, "1", "broker_1", "broker-"])
def test_a_name_that_rabbitmq_or_a_resolver_would_not_take(look: Look, name: str) -> None:
    (sentence,) = look(host=name, names={name: ADDRESS})
    assert sentence.startswith(f"{name} cannot be the name of a host; use 1 to 63 lower-case letters")


@pytest.mark.parametrize("name", ["b", "b" * 63, "ip-10-9-0-31"])
def test_a_short_and_the_longest_name(look: Look, name: str) -> None:
    assert look(host=name, names={name: ADDRESS}) == []


def test_an_address_that_the_host_does_not_have(look: Look) -> None:
    (sentence,) = look(names={"worker-1": "10.9.0.32"})
    assert sentence.startswith(
        "worker-1 has no interface with its lab_address 10.9.0.32; correct lab_address"
    )


def test_an_address_of_two_hosts(look: Look) -> None:
    (sentence,) = look(names={"worker-1": ADDRESS, "worker-2": ADDRESS})
    assert sentence == (
        f"worker-1 and worker-2 have the same lab_address {ADDRESS}; give each host its own in the inventory."
    )


def test_an_ipv6_address(look: Look) -> None:
    (sentence,) = look(names={"worker-1": "fd00::31"})
    assert sentence == (
        "worker-1 has the IPv6 address fd00::31 as its lab_address in the inventory, and the roles need IPv4"
        " there;"
        " give each host an IPv4 address on a private network (ansible_host may be IPv6)."
    )


def test_no_address(look: Look) -> None:
    (sentence,) = look(names={"worker-1": ""})
    assert sentence.startswith("worker-1 has '' as its lab_address in the inventory")


def hosts(line: str) -> dict[str, str]:
    """Files of a host whose /etc/hosts has this line."""
    return {"/etc/hosts": f"127.0.0.1 localhost\n{line}\n"}


@pytest.mark.parametrize("line", ["", "10.9.0.31 worker-1", "# 127.0.1.1 worker-1", "127.0.1.1 my-worker-1"])
def test_hosts_file_without_another_address(look: Look, line: str) -> None:
    assert look(files=hosts(line)) == []


def test_a_name_at_loopback(look: Look) -> None:
    """As Debian's installer and cloud images write it; brokers could not find each other."""
    (sentence,) = look(files=hosts("127.0.1.1 worker-1.example.com Worker-1  # by the installer"))
    assert sentence == (
        "On worker-1 the file /etc/hosts gives the name worker-1 the address 127.0.1.1, not its lab_address"
        " 10.9.0.31; remove the name from that line, or correct the inventory."
    )


@pytest.mark.parametrize("address", ["192.168.1.5", "::1"])
def test_a_name_with_a_second_address(look: Look, address: str) -> None:
    (sentence,) = look(files=hosts(f"10.9.0.11 broker-1\n{address} broker-1"))
    assert f"gives the name broker-1 the address {address}" in sentence


def test_another_source_of_names_before_the_hosts_file(look: Look) -> None:
    (sentence,) = look(files={"/etc/nsswitch.conf": "hosts: myhostname files dns\n"})
    assert sentence.startswith(
        "worker-1 asks myhostname for a name before it reads /etc/hosts; put files first"
    )


CLOUD, USER_DATA = "/etc/cloud/cloud.cfg.d/01_debian.cfg", "/var/lib/cloud/instance/cloud-config.txt"


@pytest.mark.parametrize(
    ("files", "where"),
    [
        ({CLOUD: "manage_etc_hosts: localhost\n"}, CLOUD),
        ({CLOUD: "manage_etc_hosts: false\n", USER_DATA: 'manage_etc_hosts: "localhost"\n'}, "the user data"),
    ],
)
def test_cloud_init_that_writes_the_name_at_loopback(look: Look, files: dict[str, str], where: str) -> None:
    (sentence,) = look(files=files)
    assert sentence.startswith("cloud-init of worker-1 writes its name at 127.0.1.1")
    assert sentence.endswith(f"set manage_etc_hosts to false in {where}.")


@pytest.mark.parametrize(
    "files",
    [
        {CLOUD: "manage_etc_hosts: true\n"},
        {CLOUD: "manage_etc_hosts: localhost\n", USER_DATA: "manage_etc_hosts: false\n"},
    ],
)
def test_cloud_init_that_does_not(look: Look, files: dict[str, str]) -> None:
    assert look(files=files) == []


def test_a_cpu_below_the_baseline_of_numpy(look: Look) -> None:
    """QEMU's kvm64, the default of some hypervisors."""
    kvm64 = {
        "/proc/cpuinfo": "flags\t: fpu de pse tsc msr pae mce cx8 apic sse sse2 ht syscall nx lm pni cx16\n"
    }
    (sentence,) = look(files=kvm64)
    assert sentence.startswith("The CPU of worker-1 lacks sse4_2, ssse3 of x86-64-v2, without which numpy")
    assert look(files=kvm64, cpu_flags=[]) == [], "a host without the application"


def test_a_broker_that_the_inventory_lacks(look: Look) -> None:
    configured = "".join(
        f"cluster_formation.classic_config.nodes.{n} = rabbit@broker-{n}\n" for n in (1, 2, 3)
    )
    conf, data = "/etc/rabbitmq/rabbitmq.conf", "/var/lib/rabbitmq/mnesia/rabbit@broker-1"
    (sentence,) = look(files={conf: configured, data: ""}, brokers=["broker-1"])
    assert sentence == (
        "worker-1 is in a cluster with broker-2, broker-3, which the group brokers of the inventory lacks,"
        " and the"
        " roles do not make a cluster smaller; put it back, or remove the lab and create it again."
    )
    assert look(files={conf: configured, data: ""}, brokers=[f"broker-{n}" for n in range(1, 6)]) == []
    assert look(files={conf: configured}, brokers=["broker-1"]) == [], "configured, but without data"


MAIN = "/etc/postgresql/17/main"
DEBIAN = """# Database administrative login by Unix domain socket
local   all             postgres                                peer
local   all             all                                     peer
host    all             all             127.0.0.1/32            scram-sha-256
host    all             all             ::1/128                 scram-sha-256
local   replication     all                                     peer
host    replication     all             127.0.0.1/32            scram-sha-256
host    replication     all             ::1/128                 scram-sha-256
"""


def test_a_database_server_of_debian(look: Look) -> None:
    assert look(files={f"{MAIN}/postgresql.conf": "", f"{MAIN}/pg_hba.conf": DEBIAN}, database=True) == []


@pytest.mark.parametrize("other", ["/etc/postgresql/15/main", "/etc/postgresql/17/shop"])
def test_a_second_cluster_of_postgresql(look: Look, other: str) -> None:
    files = {f"{folder}/postgresql.conf": "" for folder in (MAIN, other)}
    (sentence,) = look(files=files, database=True)
    assert sentence.startswith("worker-1 has PostgreSQL clusters that are not of this lab (")
    assert "/".join(other.split("/")[-2:]) in sentence
    assert look(files=files) == [], "a host that is no database"


def test_rules_for_connections_that_the_lab_did_not_write(look: Look) -> None:
    rules = DEBIAN + "hostssl  shop  shop  10.0.0.0/8  scram-sha-256\n"
    files = {f"{MAIN}/postgresql.conf": "", f"{MAIN}/pg_hba.conf": rules}
    (sentence,) = look(files=files, database=True)
    assert sentence == (
        "worker-1 has a PostgreSQL with rules for connections that this lab did not write"
        " (hostssl shop shop 10.0.0.0/8 scram-sha-256), and the role would replace them; use another host,"
        " or, if nobody needs them, remove them from /etc/postgresql/17/main/pg_hba.conf."
    )
    assert look(files={**files, f"{MAIN}/conf.d/lab.conf": ""}, database=True) == []


FRONTEND = "/var/lib/dpkg/lock-frontend"


def test_the_lock_of_another_package_manager(report: Callable[..., dict[str, Any]]) -> None:
    found = report(files={FRONTEND: "lock"}, held=FRONTEND)
    assert found["problems"] == []
    assert found["busy"].startswith(f"Another program on worker-1 still holds {FRONTEND} after 0 s")
    assert report(files={FRONTEND: "lock"})["busy"] == ""


def test_a_first_boot_that_has_not_ended(report: Callable[..., dict[str, Any]]) -> None:
    status, result = "/run/cloud-init/status.json", "/run/cloud-init/result.json"
    assert report(files={status: "{}"})["busy"].startswith("cloud-init of worker-1 has not finished")
    assert report(files={status: "{}", result: "{}"})["busy"] == ""


def test_a_lock_that_is_released_while_the_program_waits(tmp_path: Path) -> None:
    """With real locks, which belong to a process."""
    lock = tmp_path / "lock"
    lock.touch()
    source = FILE.read_text().replace(FRONTEND, str(lock)).replace("/run/cloud-init", str(tmp_path))
    source = source.replace("/var/lib/apt/lists/lock", str(tmp_path / "none"))
    hold = "import fcntl, sys, time; f = open(sys.argv[1], 'r+'); fcntl.lockf(f, 2)"
    hold += "; print(flush=True); time.sleep(1)"
    with subprocess.Popen([sys.executable, "-c", hold, str(lock)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        holder.stdout.readline()
        for seconds, released in ((0, False), (30, True)):
            wanted = json.dumps({**GOOD, "wait_seconds": seconds})
            done = subprocess.run(
                [sys.executable, "-c", source, wanted], check=True, capture_output=True, text=True
            )
            assert (json.loads(done.stdout)["busy"] == "") is released


def test_all_problems_are_reported_at_once(look: Look) -> None:
    found = look(release="ID=alpine\n", memory_mb=1, disk_mb=1, clock=0, files=hosts("127.0.1.1 worker-1"))
    assert len(found) == 5
    assert all(sentence.endswith(".") for sentence in found)
