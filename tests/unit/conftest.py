"""What the roles would write for two labs, rendered once for all tests of templates."""

from __future__ import annotations

import json

import pytest
import yaml

from labctl.lab.inventory import inventory
from labctl.paths import LabPaths
from labctl.topology import declaration
from tests.unit.rendering import DOCKER, Rendered, render

ODD = {"brokers": 1, "workers": 5, "gateways": 2, "databases": 1, "monitors": 1}


@pytest.fixture(scope="session")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """All files of the topology that a user starts with."""
    return render(tmp_path_factory.mktemp("usual"), DOCKER)


@pytest.fixture(scope="session")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """All files of a lab with one broker, five workers, two gateways and a monitor."""
    folder = tmp_path_factory.mktemp("odd-inventory")
    content = yaml.safe_load(declaration.TOPOLOGY_FILE.read_text())
    for group, count in ODD.items():
        content["groups"][group]["count"] = count
    data = json.dumps(inventory(LabPaths("odd", root=folder), declaration.parse(content)))
    script = folder / "nodes"
    script.write_text(f"#!/bin/sh\ncat <<'END'\n{data}\nEND\n")
    script.chmod(0o755)
    (folder / "group_vars").symlink_to(DOCKER / "group_vars")
    return render(tmp_path_factory.mktemp("odd"), folder)


@pytest.fixture(params=["usual", "odd"])
def rendered(request: pytest.FixtureRequest) -> Rendered:
    """Either."""
    files: Rendered = request.getfixturevalue(request.param)
    return files
