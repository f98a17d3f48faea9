"""What the roles would write for some labs, rendered once for all tests of templates."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
import yaml

from labctl.lab.inventory import inventory
from labctl.paths import LabPaths
from labctl.testing import hostile
from labctl.topology import declaration
from tests.unit.rendering import DOCKER, Rendered, render


@pytest.fixture(scope="session")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """All files of the topology that a user starts with, with the secrets of `./lab test`."""
    scratch = tmp_path_factory.mktemp("usual")
    hostile.write(scratch / "state" / "secrets", hostile.declared())
    return render(scratch, DOCKER)


# An application that the lab did not bring; what it needs is what most have.
SHOP: dict[str, Any] = {
    "name": "shop",
    "source": "shop",
    "app": "shop.celery:app",
    "workers": [
        {"name": "default", "queues": ["celery"], "concurrency": 2},
        {
            "name": "mail",
            "queues": ["mail", "mail on %H"],
            "concurrency": 8,
            "options": ["--pool", "threads"],
        },
    ],
    "beat": True,
    "environment": {"DATABASE_URL": "{database_url}", "GREETING": 'say "hi" for $5', "PORT": 8000},
}
BLOG: dict[str, Any] = {"name": "blog", "source": "blog", "app": "blog", "workers": [SHOP["workers"][0]]}


def with_counts(
    factory: pytest.TempPathFactory, name: str, applications: Sequence[object] = (), **counts: int
) -> Rendered:
    """All files of the usual topology with so many hosts of these groups, and with added applications."""
    folder = factory.mktemp(f"{name}-inventory")
    content = yaml.safe_load(declaration.TOPOLOGY_FILE.read_text())
    for group, count in counts.items():
        content["groups"][group]["count"] = count
    hosts = inventory(LabPaths(name, root=folder), declaration.parse(content))
    if applications:
        hosts["all"]["vars"] |= {"lab_added_applications": applications, "lab_connected": True}
    data = json.dumps(hosts)
    script = folder / "nodes"
    script.write_text(f"#!/bin/sh\ncat <<'END'\n{data}\nEND\n")
    script.chmod(0o755)
    (folder / "group_vars").symlink_to(DOCKER / "group_vars")
    return render(factory.mktemp(name), folder)


@pytest.fixture(scope="session")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """All files of a lab with one broker, five workers, two gateways and a monitor."""
    return with_counts(tmp_path_factory, "odd", brokers=1, workers=5, gateways=2)


@pytest.fixture(scope="session")
def unmonitored(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """All files of a lab without a monitor, with one host of each other group."""
    return with_counts(tmp_path_factory, "unmonitored", brokers=1, workers=1, monitors=0)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """All files of a lab with shop and blog beside mosaic, while `./lab connect` is in use."""
    return with_counts(tmp_path_factory, "shared", [SHOP, BLOG], brokers=1, workers=2)


@pytest.fixture(params=["usual", "odd"])
def rendered(request: pytest.FixtureRequest) -> Rendered:
    """Either."""
    files: Rendered = request.getfixturevalue(request.param)
    return files
