"""Docker engine without an init system: dockerd as a process of its own, with a pid file and a log."""

import contextlib
import subprocess
import time
from pathlib import Path

import docker

from labctl.lab.files import make_private
from labctl.machine import root
from labctl.paths import LabPaths

PID_FILE = Path("/var/run/docker.pid")
CONTAINERD_PID_FILE = Path("/var/run/docker/containerd/containerd.pid")


def log_file(paths: LabPaths) -> Path:
    return paths.base / "engine" / "dockerd.log"


def started_file(paths: LabPaths) -> Path:
    """Exists while an engine runs that ./lab started."""
    return paths.base / "engine" / "started.json"


def is_running() -> bool:
    """True when a dockerd runs on this machine, whoever started it."""
    return any(_program(int(entry.name)) == "dockerd" for entry in Path("/proc").glob("[0-9]*"))


def start(paths: LabPaths) -> subprocess.Popen[bytes]:
    """Start dockerd so that it outlives this command; the caller waits until it answers.

    An engine that was killed leaves pid files behind. When another process has such a number, a new engine
    refuses to start.
    """
    make_private(log_file(paths).parent)
    for file, program in ((PID_FILE, "dockerd"), (CONTAINERD_PID_FILE, "containerd")):
        _remove_stale(file, program)
    with log_file(paths).open("ab") as log:
        process = subprocess.Popen(
            [*(root.prefix() or ()), "dockerd", f"--pidfile={PID_FILE}"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
    started_file(paths).touch()
    return process


def last_error(paths: LabPaths) -> str:
    """Why the engine stopped, from its log."""
    with contextlib.suppress(OSError):
        lines = log_file(paths).read_text(encoding="utf-8", errors="replace").splitlines()
        errors = [
            line for line in lines if "level=error" in line or "level=fatal" in line or "failed" in line
        ]
        return (errors or lines or ["it left no log"])[-1].strip()[:400]
    return "it left no log"


def stop_if_ours(paths: LabPaths, client: docker.DockerClient) -> bool:
    """Stop the engine when ./lab started it and no container runs in it; True when it was stopped."""
    if not started_file(paths).exists() or client.containers.list():
        return False
    client.close()
    started_file(paths).unlink()
    pid = _pid(PID_FILE)
    if pid is None or _program(pid) != "dockerd":
        return False
    root.run(["kill", "-TERM", str(pid)])
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and _program(pid) == "dockerd":
        time.sleep(0.2)
    return True


def _remove_stale(file: Path, program: str) -> None:
    pid = _pid(file)
    if pid is not None and _program(pid) != program:
        root.run(["rm", "-f", str(file)])


def _pid(file: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        return int(file.read_text(encoding="ascii"))
    return None


def _program(pid: int) -> str:
    """Name of a running process, "" when there is none or it is a zombie."""
    with contextlib.suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        if stat.rpartition(")")[2].split()[0] != "Z":
            return stat.partition("(")[2].rpartition(")")[0]
    return ""
