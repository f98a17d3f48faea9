"""Checks of this machine before a lab is created: memory, disk, ports, inotify."""

import contextlib
import os
import shutil
import socket
from collections.abc import Iterable
from pathlib import Path

from labctl.errors import UsageError
from labctl.machine import root
from labctl.paths import LabPaths
from labctl.screen import Screen

DISK_COLD_GB = 6.0  # node image, group images, .venv and caches
DISK_WARM_GB = 1.0  # logs, databases and queues of nodes from finished images
INSTANCES_PER_NODE = 8  # measured: systemd holds 5; the rest is for units that watch paths, and for logins
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
MEMORY_SHARE = 0.5  # measured: the nodes of an idle lab use a third of their limits


def disk(paths: LabPaths, engine_root: str, *, cold: bool) -> None:
    """Raise UsageError when the project's disk or the engine's is too full.

    engine_root: the engine's folder, "" when it is on no disk of this machine.
    """
    needed = DISK_COLD_GB if cold else DISK_WARM_GB
    folders = {"the Docker engine": Path(engine_root)} if engine_root else {}
    for what, wanted in (folders | {"this project": paths.root}).items():
        # A parent of another data-root may be closed to this user: Path.exists() would raise.
        folder = next(place for place in (wanted, *wanted.parents) if os.path.exists(place))  # noqa: PTH110
        free = shutil.disk_usage(folder).free / 1e9
        if free < needed:
            raise UsageError(
                f"The disk of {what} ({folder}) has {free:.1f} GB free and {needed:.0f} GB are needed; free"
                " some (docker system df shows what Docker holds), then run ./lab up again."
            )


def memory(limits_mb: int, engine_mb: int | None = None) -> None:
    """Raise UsageError when nodes with these limits together would not fit into the memory available now.

    engine_mb: memory of the engine's VM, where it has one.
    """
    available = available_memory_mb() if engine_mb is None else engine_mb
    needed = int(limits_mb * MEMORY_SHARE)
    if available is not None and available < needed:
        raise UsageError(
            f"{available} MB of memory are available and the nodes need about {needed} MB; close programs, or"
            " lower count or memory_mb in inventories/topology.yml."
        )


def available_memory_mb() -> int | None:
    """Memory that new programs can get, None where the system does not report it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) // 1024
    return None


def inotify(nodes: int, screen: Screen) -> None:
    """Raise the kernel's limit of inotify instances where it is too low for nodes and machine together.

    Raises UsageError with the command where this user cannot become root.
    """
    try:
        limit = int(INOTIFY.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return
    wanted = max(128, nodes * INSTANCES_PER_NODE + 64)
    if limit >= wanted:
        return
    if root.prefix() is not None and root.run(["sh", "-c", f"echo {wanted} > {INOTIFY}"]).returncode == 0:
        screen.note(f"raised fs.inotify.max_user_instances from {limit} to {wanted}, until the next boot")
        return
    raise UsageError(
        f"fs.inotify.max_user_instances is {limit}, too few for {nodes} systemd nodes; run `sysctl -q -w"
        f" fs.inotify.max_user_instances={wanted}` as root, then ./lab up again."
    )


def ports(wanted: Iterable[tuple[str, int]]) -> None:
    """Raise UsageError for the first port of 127.0.0.1 in [(node name, port)] that another program holds."""
    for node, port in wanted:
        if not port_is_free(port):
            raise UsageError(
                f"Port {port} of 127.0.0.1, where {node} is to be published, is taken; stop the program that"
                f" holds it (ss -ltnp 'sport = :{port}') or change `publish` in inventories/topology.yml."
            )


def port_is_free(port: int) -> bool:
    """True when a program could listen on this port of 127.0.0.1."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
