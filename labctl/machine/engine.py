"""The Docker engine of this machine: used when it answers, else installed and started."""

import contextlib
import getpass
import hashlib
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import docker
import docker.errors
import requests

from labctl.errors import UsageError
from labctl.machine import dockerd, fitness, root
from labctl.paths import LabPaths
from labctl.screen import Screen

START_TIMEOUT_S = 30.0
DEFAULT_HOST = "unix:///var/run/docker.sock"
OWN_HOSTS = (DEFAULT_HOST, "unix:///run/docker.sock")
_ADMIN_PATH = "/usr/local/sbin:/usr/sbin:/sbin"
_SNAPS = (Path("/snap/bin/docker"), Path("/var/lib/snapd/snap/bin/docker"))


class EngineDownError(UsageError):
    """No engine answers."""


def require() -> docker.DockerClient:
    """A client of an engine that answers; raises EngineDownError, or UsageError when it refuses this user."""
    choose()
    try:
        client = docker.from_env(timeout=120)
        client.ping()
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        # A socket that an engine left behind refuses other users just like a live one.
        if "Permission denied" in str(error) and dockerd.is_running():
            user = getpass.getuser()
            command = f"sudo usermod -aG docker {user}"
            if _has_snap():  # it comes without the group, and gives it the socket when it starts
                command = f"sudo addgroup --system docker; {command}; sudo snap restart docker"
            raise UsageError(
                f"The Docker engine runs, but user {user} may not use it; run `{command}` and log in again,"
                " then run ./lab again."
            ) from error
        raise EngineDownError(
            "No Docker engine answers; run ./lab up, which starts it, or start it yourself (systemctl start"
            " docker)."
        ) from error
    return client


def ensure(paths: LabPaths, screen: Screen) -> docker.DockerClient:
    """A client of an engine that answers, after installing and starting it where needed and allowed.

    Raises UsageError with cause and remedy when this engine cannot run the nodes of a lab.
    """
    # dockerd, iptables and sysctl are in folders that the PATH of a user may lack.
    os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:{_ADMIN_PATH}"
    choose()
    fitness.require_here(os.environ["DOCKER_HOST"])
    try:
        client = require()
    except EngineDownError as error:
        address = os.environ.get("DOCKER_HOST", "")
        if address and address not in OWN_HOSTS:
            raise UsageError(
                f"No Docker engine answers at DOCKER_HOST={address}; start it, or unset DOCKER_HOST and run"
                " `docker context use default` to use this machine's own."
            ) from error
        client = _install_and_start(paths, screen)
    fitness.require(os.environ["DOCKER_HOST"], client.info())
    if shutil.which("docker") is None:  # a package of its own since Debian 13
        _install(["docker-cli"], "The docker command line program", screen)
    return client


def _install_and_start(paths: LabPaths, screen: Screen) -> docker.DockerClient:
    if shutil.which("dockerd") is None and not _has_snap():
        _install(["docker.io"], "A Docker engine", screen)
        client = _answer_within(3.0)
        if client is not None:
            return client
    services = _service_commands()
    if root.prefix() is None:
        command = " ".join(services[0][1]) if services else "dockerd"
        raise UsageError(
            f"The Docker engine is not running and starting it needs root: run `{command}` as root, then"
            " ./lab up again."
        )
    with screen.step("start the Docker engine") as step:
        for how, words in services:
            step.update(how)
            started = root.run(words, timeout=120)
            client = _answer_within(START_TIMEOUT_S if started.returncode == 0 else 1.0)
            if client is not None:
                step.result = f"by {how}"
                return client
        step.update("dockerd directly")
        client = _answer_within(START_TIMEOUT_S, dockerd.start(paths))
        if client is None:
            cause = dockerd.last_error(paths)
            remedy = fitness.firewall(cause) or "correct the cause"
            raise UsageError(
                f"The Docker engine did not start: {cause}; {remedy} (log: {dockerd.log_file(paths)}), then"
                " run ./lab up again."
            )
        step.result = f"as a process of its own, log {dockerd.log_file(paths)}"
        return client


def _install(packages: list[str], what: str, screen: Screen) -> None:
    if not root.is_debian_like():
        raise UsageError(
            f"{what} is missing and this system is not Debian or Ubuntu: install Docker Engine as its own"
            " pages say (docs.docker.com/engine/install), then run ./lab up again."
        )
    root.apt_install(packages, screen)


def _has_snap() -> bool:
    """Whether the engine of this machine is the snap, which no other package provides."""
    return shutil.which("dockerd") is None and any(map(os.path.exists, _SNAPS))


def _service_commands() -> list[tuple[str, list[str]]]:
    """How this machine's init system starts the engine; none where there is no init system."""
    if _has_snap():
        return [("snap", ["snap", "start", "docker"])]
    if Path("/run/systemd/system").is_dir():
        return [("systemd", ["systemctl", "start", "docker"])]
    if Path("/etc/init.d/docker").exists() and shutil.which("service"):
        return [("its init script", ["service", "docker", "start"])]
    return []


def _answer_within(
    seconds: float, process: subprocess.Popen[bytes] | None = None
) -> docker.DockerClient | None:
    """A client as soon as the engine answers; None after this time, or when `process` failed."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(EngineDownError):
            return require()
        if time.monotonic() >= deadline or (process and process.poll()):
            return None
        time.sleep(0.3)


def choose() -> None:
    """Set DOCKER_HOST to the engine of the program docker, so that all parts of ./lab use the same one.

    It is DOCKER_HOST, else that of the chosen context (Docker Desktop, rootless), else the default socket.
    """
    if not os.environ.get("DOCKER_HOST"):
        os.environ["DOCKER_HOST"] = DEFAULT_HOST
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # unreadable is as good as none
            os.environ.update(_context())


def _context() -> dict[str, str]:
    """Variables for the context chosen in the files of the program docker; none for the default one."""
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path("~/.docker").expanduser())
    name = os.environ.get("DOCKER_CONTEXT")
    if not name and (folder / "config.json").exists():
        name = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("currentContext")
    if not name or name == "default":
        return {}
    key = hashlib.sha256(name.encode()).hexdigest()
    meta = json.loads((folder / "contexts" / "meta" / key / "meta.json").read_text(encoding="utf-8"))
    found = {"DOCKER_HOST": str(meta["Endpoints"]["docker"]["Host"])}
    certificates = folder / "contexts" / "tls" / key / "docker"
    if certificates.is_dir():
        found |= {"DOCKER_CERT_PATH": str(certificates), "DOCKER_TLS_VERIFY": "1"}
    return found
