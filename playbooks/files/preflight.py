"""Print JSON {"problems": [sentence, ..], "busy": sentence or "", "clock": seconds, "broker_data": bool}.

The problems are the reasons why this host cannot be a node. `busy` is empty, or says which program still
changes the packages of this host. `clock` is its time. `broker_data` is true when a broker has data here; the
role rabbitmq checks whose data it is.

    preflight.py '{"host", "names": {name: address}, "releases": [..], "unfit": {release: reason},
                   "memory_mb", "disk_mb", "clock", "clock_seconds", "cpu_flags": [..], "brokers": [..],
                   "database": bool, "wait_seconds"}'

`brokers` is empty, and `database` false, for a host that is none. The program waits for `wait_seconds` while
the host is busy. Standard library only: it runs on the host before the roles install anything.
"""

from __future__ import annotations

import fcntl
import ipaddress
import json
import platform
import re
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def operating_system(expected: dict[str, Any]) -> Iterator[str]:
    """The release must be one that the roles support."""
    pairs = (line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    release = {key: value.strip('"') for key, value in pairs}
    known = expected["releases"]
    if release.get("ID") != "debian" or release.get("VERSION_ID") not in known:
        yield (
            f"{expected['host']} runs {release.get('PRETTY_NAME', 'an unknown system')},"
            f" which the roles {_why_not(release.get('VERSION_ID', ''), expected)};"
            f" install Debian {' or '.join(known)}."
        )


def _why_not(release: str, expected: dict[str, Any]) -> str:
    reason = expected.get("unfit", {}).get(release)
    return f"of its group do not support ({reason})" if reason else "do not support"


def memory(expected: dict[str, Any]) -> Iterator[str]:
    """The memory must be large enough; the kernel reports MemTotal in kB."""
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    total = int(fields["MemTotal"].split()[0]) // 1024
    if total < expected["memory_mb"]:
        yield f"{expected['host']} has {total} MB of memory and needs {expected['memory_mb']}; add memory."


def disk(expected: dict[str, Any]) -> Iterator[str]:
    """The file system of packages and data must have enough free space."""
    free = shutil.disk_usage("/var/lib").free // 2**20
    if free < expected["disk_mb"]:
        yield (
            f"{expected['host']} has {free} MB free in /var/lib and needs {expected['disk_mb']};"
            " free some space or enlarge the disk."
        )


def clock(expected: dict[str, Any]) -> Iterator[str]:
    """Certificates, periodic tasks and logs need synchronised clocks.

    `clock` is the controller's time before this program started: a host with an earlier time is behind. The
    playbook checks whether the host is ahead, when it has the answer.
    """
    behind = expected["clock"] - time.time()
    if behind > expected["clock_seconds"]:
        yield (
            f"The clock of {expected['host']} is {behind:.0f} s behind the controller's; set it"
            " (timedatectl set-ntp true, or date -s)."
        )


def own_name(expected: dict[str, Any]) -> Iterator[str]:
    """RabbitMQ's short node names allow no dots, and each tool of the lab compares names letter by letter."""
    if not re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", expected["host"]):
        yield (
            f"{expected['host']} cannot be the name of a host; use 1 to 63 lower-case letters, digits and"
            " hyphens, the first"
            " a letter and the last no hyphen, and write another name or address for SSH into ansible_host."
        )


def own_address(expected: dict[str, Any]) -> Iterator[str]:
    """The address must be of this host, of no other host, and IPv4."""
    host, address = expected["host"], expected["names"][expected["host"]]
    try:
        ipaddress.IPv4Address(address)
    except ValueError:
        is_v6 = ":" in address
        yield (
            f"{host} has {'the IPv6 address ' + address if is_v6 else repr(address)} as its lab_address in"
            " the inventory, and"
            " the roles need IPv4 there; give each host an IPv4 address on a private network"
            f"{' (ansible_host may be IPv6)' * is_v6}."
        )
        return
    others = [name for name, other in expected["names"].items() if other == address and name != host]
    if others:
        yield (
            f"{host} and {', '.join(others)} have the same lab_address {address}; give each host its own in"
            " the inventory."
        )
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            yield (
                f"{host} has no interface with its lab_address {address}; correct lab_address in the"
                " inventory (ip address,"
                " run there, shows what it has), or give the host this address."
            )


def names(expected: dict[str, Any]) -> Iterator[str]:
    """No other entry of /etc/hosts may name a host of the lab; the role base adds the right ones.

    Answers of DNS or nss-myhostname do not matter, as long as /etc/hosts is asked first.
    """
    host = expected["host"]
    for line in _lines("/etc/hosts"):
        address, *found = line.split()
        for name in expected["names"]:
            if name in (word.lower() for word in found) and address != expected["names"][name]:
                yield (
                    f"On {host} the file /etc/hosts gives the name {name} the address {address}, not its"
                    f" lab_address {expected['names'][name]}; remove the name from that line, or correct the"
                    " inventory."
                )
    for line in _lines("/etc/nsswitch.conf"):
        database, *sources = line.split()
        if database == "hosts:" and sources and sources[0] != "files":
            yield (
                f"{host} asks {sources[0]} for a name before it reads /etc/hosts; put files first in the"
                " line hosts: of /etc/nsswitch.conf there."
            )


def cloud_init(expected: dict[str, Any]) -> Iterator[str]:
    """cloud-init must not write the host's name at 127.0.1.1.

    With the value true it uses a file that the role base changes.
    """
    user_data = "/var/lib/cloud/instance/cloud-config.txt"
    files = [
        "/etc/cloud/cloud.cfg",
        *map(str, sorted(Path("/etc/cloud/cloud.cfg.d").glob("*.cfg"))),
        user_data,
    ]
    pattern = re.compile(r"manage_etc_hosts:\s*[\"']?([\w-]+)")
    found = [(match[1], file) for file in files for match in map(pattern.match, _lines(file)) if match]
    if found and found[-1][0] == "localhost":
        where = "the user data" if found[-1][1] == user_data else found[-1][1]
        yield (
            f"cloud-init of {expected['host']} writes its name at 127.0.1.1 into /etc/hosts at each boot, so"
            f" that a broker is not found any more; set manage_etc_hosts to false in {where}."
        )


def cpu(expected: dict[str, Any]) -> Iterator[str]:
    """Debian's packages run on any x86-64; numpy, which the application uses, needs x86-64-v2."""
    flags = next((line.split() for line in _lines("/proc/cpuinfo") if line.startswith("flags")), None)
    if platform.machine() != "x86_64" or flags is None:
        return
    missing = [flag for flag in expected["cpu_flags"] if flag not in flags]
    if missing:
        yield (
            f"The CPU of {expected['host']} lacks {', '.join(missing)} of x86-64-v2, without which numpy"
            " does not start; give the VM another CPU model (host, or x86-64-v2), or use another host."
        )


def brokers(expected: dict[str, Any]) -> Iterator[str]:
    """The cluster may have no member that the inventory lacks: it would still count for the majority."""
    pattern = re.compile(r"cluster_formation\.classic_config\.nodes\.\d+\s*=\s*rabbit@(\S+)")
    found = [match[1] for match in map(pattern.match, _lines("/etc/rabbitmq/rabbitmq.conf")) if match]
    gone = [name for name in found if name not in expected["brokers"]]
    if expected["brokers"] and has_broker_data() and gone:
        yield (
            f"{expected['host']} is in a cluster with {', '.join(gone)}, which the group brokers of the"
            " inventory lacks, and the"
            " roles do not make a cluster smaller; put it back, or remove the lab and create it again."
        )


# What pg_createcluster writes. Other rules are somebody's, and the role postgresql would replace them.
_DEBIAN_RULES = {
    "local all postgres peer",
    "local all all peer",
    "local replication all peer",
    *(
        f"host {base} all {net} scram-sha-256"
        for base in ("all", "replication")
        for net in ("127.0.0.1/32", "::1/128")
    ),
}


def database(expected: dict[str, Any]) -> Iterator[str]:
    """The role postgresql configures the only cluster of the host, and replaces its pg_hba.conf."""
    if not expected["database"]:
        return
    host = expected["host"]
    folders = sorted(file.parent for file in Path("/etc/postgresql").glob("*/*/postgresql.conf"))
    if len(folders) > 1 or any(folder.name != "main" for folder in folders):
        clusters = ", ".join("/".join(folder.parts[-2:]) for folder in folders)
        yield (
            f"{host} has PostgreSQL clusters that are not of this lab ({clusters}), and the role needs main"
            " to be the only one;"
            " use another host, or remove those that nobody needs (pg_dropcluster --stop VERSION NAME)."
        )
    for folder in folders:
        rules = [" ".join(line.split()) for line in _lines(str(folder / "pg_hba.conf"))]
        foreign = [rule for rule in rules if rule not in _DEBIAN_RULES]
        if foreign and not (folder / "conf.d" / "lab.conf").exists():
            yield (
                f"{host} has a PostgreSQL with rules for connections that this lab did not write"
                f" ({foreign[0]}), and the role"
                " would replace them; use another host, or, if nobody needs them, remove them from"
                f" {folder}/pg_hba.conf."
            )


def busy(expected: dict[str, Any]) -> str:
    """A first boot or another package manager that has not finished; "" when there is none."""
    if Path("/run/cloud-init/status.json").exists() and not Path("/run/cloud-init/result.json").exists():
        return (
            f"cloud-init of {expected['host']} has not finished the first boot after"
            f" {expected['wait_seconds']} s; find out why"
            " there (cloud-init status --long), then run this again."
        )
    for lock in ("/var/lib/dpkg/lock-frontend", "/var/lib/apt/lists/lock"):
        try:
            with Path(lock).open("r+", encoding="utf-8") as file:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            continue
        except OSError:
            return (
                f"Another program on {expected['host']} still holds {lock} after {expected['wait_seconds']}"
                " s, for example the"
                f" automatic upgrade; let it finish (fuser -v {lock} shows it), then run this again."
            )
    return ""


def wait(expected: dict[str, Any]) -> str:
    """Wait until the host is not busy; returns what it is busy with when the time is over."""
    deadline = time.monotonic() + expected["wait_seconds"]
    while (found := busy(expected)) and time.monotonic() < deadline:
        time.sleep(2)
    return found


def _lines(file: str) -> list[str]:
    """Lines of a text file without comments and empty ones; none when there is no such file."""
    try:
        text = Path(file).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [line for line in (line.partition("#")[0].strip() for line in text.splitlines()) if line]


def has_broker_data() -> bool:
    """Whether a broker has data here, under any node name: a renamed host keeps data under its old name."""
    return any(Path("/var/lib/rabbitmq/mnesia").glob("*@*"))


def main() -> None:
    """Run every check, so that one run reports all problems."""
    expected = json.loads(sys.argv[1])
    checks = (
        operating_system,
        memory,
        disk,
        clock,
        own_name,
        own_address,
        names,
        cloud_init,
        cpu,
        brokers,
        database,
    )
    # Before the wait, because `clock` is the time at which the program started.
    problems = [problem for check in checks for problem in check(expected)]
    report = {"problems": problems, "busy": wait(expected), "broker_data": has_broker_data()}
    print(json.dumps({**report, "clock": time.time()}))


if __name__ == "__main__":
    main()
