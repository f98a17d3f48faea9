"""The program docker, the SDK and Ansible's modules use one engine: that of the user's docker program."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from labctl.paths import ROOT
from labctl.programs import surroundings

CODE = (
    "import os; from labctl.programs import surroundings; surroundings.adopt();"
    "from labctl.machine import engine; engine.choose(); print(os.environ['DOCKER_HOST'])"
)


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    """A folder of the program docker with the context `remote`, which is not chosen yet."""
    meta = tmp_path / "contexts" / "meta" / hashlib.sha256(b"remote").hexdigest()
    meta.mkdir(parents=True)
    endpoint = {"Host": "unix:///home/me/.docker/desktop/docker.sock", "SkipTLSVerify": False}
    content = {"Name": "remote", "Metadata": {}, "Endpoints": {"docker": endpoint}}
    (meta / "meta.json").write_text(json.dumps(content))
    return tmp_path


def chosen(configuration: Path, **given: str) -> str:
    base = surroundings.environment()
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        base.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=base | {"DOCKER_CONFIG": str(configuration)} | given,
    )
    return done.stdout.strip()


def test_the_default_is_the_socket_of_this_machine(configuration: Path) -> None:
    assert chosen(configuration) == "unix:///var/run/docker.sock"


@pytest.mark.parametrize("how", ["variable", "chosen"])
def test_a_context_is_followed(configuration: Path, how: str) -> None:
    given = {"DOCKER_CONTEXT": "remote"} if how == "variable" else {}
    if how == "chosen":
        (configuration / "config.json").write_text(json.dumps({"currentContext": "remote"}))
    assert chosen(configuration, **given) == "unix:///home/me/.docker/desktop/docker.sock"


def test_docker_host_is_stronger_than_a_context(configuration: Path) -> None:
    given = {"DOCKER_CONTEXT": "remote", "DOCKER_HOST": "unix:///run/user/7/docker.sock"}
    assert chosen(configuration, **given) == "unix:///run/user/7/docker.sock"


def test_a_broken_configuration_is_the_default(configuration: Path) -> None:
    (configuration / "config.json").write_text("{")
    assert chosen(configuration) == "unix:///var/run/docker.sock"
