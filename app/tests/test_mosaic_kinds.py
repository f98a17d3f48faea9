"""The registry of kinds: the files of each kind, and the modules that it imports."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from celery import Celery
from fastapi.testclient import TestClient
from mosaic import topology
from mosaic.kinds import KINDS, NAMES, kind_of
from mosaic.kinds.kind import FOLDER, Kind
from mosaic.ledger.jobs import JobPlan

EVERY_KIND = pytest.mark.parametrize("kind", KINDS.values(), ids=NAMES)
IMPORT = re.compile(r"""(?:^import|\bfrom) "([^"]+)";$""", re.MULTILINE)


def test_every_folder_is_registered_under_its_own_name() -> None:
    assert sorted(NAMES) == sorted(path.parent.name for path in FOLDER.glob("*/plan.py"))
    assert [kind.name for kind in KINDS.values()] == list(NAMES)


def test_a_producer_needs_neither_numpy_nor_pillow() -> None:
    program = (
        "import sys; import mosaic.celery, mosaic.settings, mosaic.kinds;"
        "print([name for name in ('numpy', 'PIL', 'fastapi') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


@EVERY_KIND
def test_tasks_bear_the_name_of_their_kind_and_go_to_its_queue(app: Celery, kind: Kind) -> None:
    own = [name for name, task in app.tasks.items() if task.__module__ == kind.task_module]
    assert own
    assert all(name.startswith(f"mosaic.{kind.name}.") for name in own)
    assert {app.amqp.router.route({}, name)["queue"].name for name in own} == {kind.queue}
    assert kind.queue in [queue.name for queue in topology.shared_task_queues()]


@EVERY_KIND
def test_documentation_lists_the_kind(kind: Kind) -> None:
    architecture = Path(__file__).parents[2] / "docs" / "explanation" / "architecture.md"
    assert f"\n| {kind.name} | " in architecture.read_text(encoding="utf-8")


@EVERY_KIND
def test_plan_is_documented_and_returns_a_plan(kind: Kind) -> None:
    plan = kind.load("plan").plan
    assert plan.__doc__
    assert plan.__annotations__["return"] == JobPlan.__name__


@EVERY_KIND
def test_a_picture_can_be_made_once_there_are_blobs_of_its_role(kind: Kind) -> None:
    assert bool(kind.picture) == bool(kind.picture_role) == bool(kind.caption)
    if kind.picture:
        module = kind.load(kind.picture)
        assert callable(module.picture)
        assert callable(module.thumbnail)


@EVERY_KIND
def test_form_and_scripts_are_on_the_page(client: TestClient, kind: Kind) -> None:
    page = client.get("/jobs", headers={"Accept": "text/html"}).text
    assert f'<form id="{kind.name}"' in page
    assert f'aria-labelledby="{kind.name}-title"' in page
    form, result = kind.script("form"), kind.script("result")
    assert not form or f'src="{form}"' in page
    assert form or re.search(rf'<form id="{kind.name}"[^>]* data-send="(json|multipart)"', page)
    for script in filter(None, (form, result)):
        answer = client.get(script)
        assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (
            200,
            "text/javascript",
        )
        for target in IMPORT.findall(answer.text):
            address = (
                target if target.startswith("/") else f"/static/kinds/{kind.name}/{target.removeprefix('./')}"
            )
            assert client.get(address).status_code == 200, (script, target)


@pytest.mark.parametrize("path", ["plan.py", "../plan.py", "%2e%2e/plan.py", "form.html"])
def test_nothing_else_of_a_folder_is_served(client: TestClient, path: str) -> None:
    assert client.get(f"/static/kinds/render/{path}").status_code == 404


def test_a_job_of_an_unknown_kind_has_no_picture() -> None:
    assert (
        kind_of("gone").picture,
        kind_of("gone").template("result"),
        kind_of("gone").script("result"),
    ) == (
        "",
        "",
        "",
    )
