"""Which declarations of applications the preflight refuses, by the real tasks run on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.rendering import PLAYBOOKS, ROOT

WORKER = {"name": "default", "queues": ["celery"], "concurrency": 1}


def preflight(tmp_path: Path, *applications: dict[str, Any]) -> str:
    """What the checks of the declarations answer; "" when they accept these beside mosaic."""
    (play,) = yaml.safe_load((PLAYBOOKS / "preflight.yml").read_text())
    tasks = [task for task in play["tasks"] if "of the applications" in task["name"]]
    assert len(tasks) == 4
    plays = [{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]
    (tmp_path / "play.yml").write_text(json.dumps(plays))
    (tmp_path / "group_vars").symlink_to(PLAYBOOKS / "group_vars")
    variables = {"lab_added_applications": applications, "lab_secrets": {}, "lab_state_dir": str(tmp_path)}
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "--inventory=localhost,",
            "--connection=local",
            f"--extra-vars={json.dumps(variables)}",
            str(tmp_path / "play.yml"),
        ],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        cwd=tmp_path,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def shop(**changes: Any) -> dict[str, Any]:
    """A declaration with changes."""
    return {"name": "shop", "app": "shop", "workers": [WORKER], **changes}


def test_what_people_have_is_accepted(tmp_path: Path) -> None:
    other = {
        "name": "mail",
        "queues": ["mail on %H", "a.b-c"],
        "concurrency": 1,
        "options": ["--pool", "solo"],
    }
    assert preflight(tmp_path, shop(workers=[WORKER, other]), shop(name="blog_2")) == ""


@pytest.mark.parametrize(
    ("application", "complaint"),
    [
        (shop(name="My shop"), "lower-case letters"),
        (shop(name="mosaic"), "each must be different"),
        (shop(name="rabbitmq"), "be none of admin, all, broker"),
        ({"name": "shop", "app": "shop"}, "each needs name, app and workers"),
        (shop(workers=[{"name": "default", "concurrency": 1}]), "a list with one queue or more"),
        (shop(workers=[WORKER | {"queues": "celery"}]), "a list with one queue or more"),
        (shop(environment={"A B": "x"}), "A B is no name of a variable; use letters, digits and _."),
        (shop(name="replication"), "be none of admin, all, broker"),
        (shop(name="pg_shop"), "not with pg_"),
        (shop(workers=[WORKER, WORKER]), "The workers of shop cannot be started as declared"),
        (shop(workers=[WORKER | {"name": "a b"}]), "The workers of shop cannot be started as declared"),
        (shop(workers=[WORKER | {"queues": ["a,b"]}]), "name no queue with a comma"),
        (shop(workers=[WORKER | {"queues": ["a\\b"]}]), "name no queue with a comma"),
        (shop(workers=[WORKER | {"options": ["--pool solo"]}]), "each word of an option an entry of its own"),
    ],
)
def test_what_cannot_work_is_refused_before_any_change(
    tmp_path: Path, application: dict[str, Any], complaint: str
) -> None:
    assert complaint in " ".join(preflight(tmp_path, application).split())
