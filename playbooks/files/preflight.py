"""Print JSON {"problems": [sentence, ..], "clock": seconds, "broker_data": bool}.

The problems are the reasons why this host cannot be a node. `clock` is its time. `broker_data` is true when a
broker has data here; the role rabbitmq checks whose data it is.

    preflight.py '{"host", "names": {name: address}, "releases": [..], "unfit": {release: reason},
                   "memory_mb", "disk_mb", "clock", "clock_seconds"}'

Standard library only: it runs on the host before the roles install anything.
"""

from __future__ import annotations

import json
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


def names(expected: dict[str, Any]) -> Iterator[str]:
    """A name must resolve to its lab_address only, or not at all: then the role base adds it."""
    for name, address in expected["names"].items():
        try:
            found = {str(entry[4][0]) for entry in socket.getaddrinfo(name, None, socket.AF_INET)}
        except socket.gaierror:
            continue
        for other in sorted(found - {address}):
            yield (
                f"On {expected['host']} the name {name} resolves to {other},"
                f" not to its lab_address {address};"
                f" remove that entry (grep -n {name} /etc/hosts there) or correct the inventory."
            )


def has_broker_data() -> bool:
    """Whether a broker has data here, under any node name: a renamed host keeps data under its old name."""
    return any(Path("/var/lib/rabbitmq/mnesia").glob("*@*"))


def main() -> None:
    """Run every check, so that one run reports all problems."""
    expected = json.loads(sys.argv[1])
    checks = (operating_system, memory, disk, clock, names)
    problems = [problem for check in checks for problem in check(expected)]
    print(json.dumps({"problems": problems, "clock": time.time(), "broker_data": has_broker_data()}))


if __name__ == "__main__":
    main()
