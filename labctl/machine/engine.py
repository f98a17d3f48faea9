"""The Docker engine of this machine: reached, or installed and started by whatever the machine has."""

import contextlib
import getpass
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
from labctl.machine import dockerd, root
from labctl.paths import LabPaths
from labctl.screen import Screen

START_TIMEOUT_S = 30.0
_ADMIN_PATH = "/usr/local/sbin:/usr/sbin:/sbin"


class EngineDownError(Exception):
    """No engine answers; the text says why. `denied` is set when one does, but not to this user."""

    def __init__(self, reason: str, *, denied: bool = False) -> None:
        super().__init__(reason)
        self.denied = denied


def connect() -> docker.DockerClient:
    """A client of an engine that answers; raises EngineDownError."""
    _use_cli_context()
    try:
        client = docker.from_env(timeout=120)
        client.ping()
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        # A socket that an engine left behind refuses other users just like a live one.
        denied = "Permission denied" in str(error) and dockerd.is_running()
        raise EngineDownError(str(error), denied=denied) from error
    return client


def require() -> docker.DockerClient:
    """A client for commands that prepare nothing; raises UsageError where no engine answers."""
    try:
        return connect()
    except EngineDownError as error:
        if error.denied:
            raise UsageError(_denied()) from error
        raise UsageError(
            "No Docker engine answers; run ./lab up, which starts it, or start it yourself (systemctl start"
            " docker)."
        ) from error


def ensure(paths: LabPaths, screen: Screen) -> docker.DockerClient:
    """A client of an engine that answers, after installing and starting it where needed and allowed."""
    _see_admin_programs()
    try:
        client = connect()
    except EngineDownError as error:
        client = _bring_up(paths, screen, error)
    if shutil.which("docker") is None:  # split off from docker.io since Debian 13
        _install(["docker-cli"], "The docker command line program", screen)
    return client


def _bring_up(paths: LabPaths, screen: Screen, error: EngineDownError) -> docker.DockerClient:
    if error.denied:
        raise UsageError(_denied()) from error
    address = os.environ.get("DOCKER_HOST", "")
    if address and not address.endswith("/docker.sock"):
        raise UsageError(
            f"No Docker engine answers at DOCKER_HOST={address}; start it, or unset DOCKER_HOST to use this"
            " machine's own."
        ) from error
    if shutil.which("dockerd") is None:
        _install(["docker.io"], "A Docker engine", screen)
        client = _answer_within(3.0)
        if client is not None:
            return client
    return _start(paths, screen)


def _install(packages: list[str], what: str, screen: Screen) -> None:
    if not root.is_debian_like():
        raise UsageError(
            f"{what} is missing and this system is not Debian or Ubuntu: install Docker Engine as its own"
            " pages say (docs.docker.com/engine/install), then run ./lab up again."
        )
    root.apt_install(packages, screen)


def _start(paths: LabPaths, screen: Screen) -> docker.DockerClient:
    if root.prefix() is None:
        raise UsageError(
            f"The Docker engine is not running and starting it needs root: run `{_start_command()}` as root,"
            " then ./lab up again."
        )
    with screen.step("start the Docker engine") as step:
        for how, command in _service_commands():
            step.update(how)
            started = root.run(command, timeout=120)
            client = _answer_within(START_TIMEOUT_S if started.returncode == 0 else 1.0)
            if client is not None:
                step.result = f"by {how}"
                return client
        step.update("dockerd directly")
        process = dockerd.start(paths)
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            client = _answer_within(1.0)
            if client is not None:
                step.result = f"as a process of its own, log {dockerd.log_file(paths)}"
                return client
            if process.poll() not in (None, 0):
                break
        raise UsageError(
            f"The Docker engine did not start: {dockerd.last_words(paths)}; see {dockerd.log_file(paths)},"
            " correct the cause, then run ./lab up again."
        )


def _service_commands() -> list[tuple[str, list[str]]]:
    """How this machine's init system starts the engine, best first; none where there is no init system."""
    if Path("/run/systemd/system").is_dir():
        return [("systemd", ["systemctl", "start", "docker"])]
    if Path("/etc/init.d/docker").exists() and shutil.which("service"):
        return [("its init script", ["service", "docker", "start"])]
    return []


def _start_command() -> str:
    commands = _service_commands()
    return " ".join(commands[0][1]) if commands else "dockerd"


def _answer_within(seconds: float) -> docker.DockerClient | None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            return connect()
        except EngineDownError as error:
            if error.denied:
                raise UsageError(_denied()) from error
            if time.monotonic() >= deadline:
                return None
            time.sleep(0.3)


def _denied() -> str:
    user = getpass.getuser()
    return (
        f"The Docker engine runs, but user {user} may not use it: run `sudo usermod -aG docker {user}`, log"
        " in again, then run ./lab again."
    )


def _see_admin_programs() -> None:
    """dockerd, iptables and sysctl live where a user's PATH may not look."""
    here = os.environ.get("PATH", os.defpath)
    missing = [folder for folder in _ADMIN_PATH.split(":") if folder not in here.split(":")]
    os.environ["PATH"] = ":".join([here, *missing])


def _use_cli_context() -> None:
    """Follow the docker program's context (rootless, Desktop): the SDK knows only the default socket."""
    if os.environ.get("DOCKER_HOST") or Path("/var/run/docker.sock").exists():
        return
    if not (Path.home() / ".docker" / "config.json").exists() or shutil.which("docker") is None:
        return
    with contextlib.suppress(subprocess.SubprocessError, OSError, ValueError, LookupError, TypeError):
        found = subprocess.run(
            ["docker", "context", "inspect"], check=True, capture_output=True, text=True, timeout=20
        )
        os.environ["DOCKER_HOST"] = json.loads(found.stdout)[0]["Endpoints"]["docker"]["Host"]
