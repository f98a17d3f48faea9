"""Which secrets the preflight refuses, by name and without showing them: the real tasks run here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from labctl.testing import hostile
from tests.unit.rendering import PLAYBOOKS, ROOT

NAMES = hostile.declared()
CHECKED = ("secrets", "secret ", "password of the database")


def preflight(tmp_path: Path, vault: str) -> str:
    """What the checks of the secrets answer to a file of variables; "" when they accept it."""
    (play,) = yaml.safe_load((PLAYBOOKS / "preflight.yml").read_text())
    tasks = [task for task in play["tasks"] if any(word in f"{task['name']} " for word in CHECKED)]
    assert len(tasks) == 5
    (tmp_path / "play.yml").write_text(
        json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}])
    )
    (tmp_path / "group_vars").symlink_to(PLAYBOOKS / "group_vars")
    (tmp_path / "vault.yml").write_text(vault)
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "--inventory=localhost,",
            "--connection=local",
            f"--extra-vars={json.dumps({'lab_state_dir': str(tmp_path)})}",
            f"--extra-vars=@{tmp_path / 'vault.yml'}",
            str(tmp_path / "play.yml"),
        ],
        check=False,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_STDOUT_CALLBACK": "lab_events",
            "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "labctl" / "ansible" / "callback"),
        },
        cwd=tmp_path,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr


def vault(**changes: str) -> str:
    """A vault of good secrets, with these YAML values."""
    values = {name: "!unsafe " + json.dumps(hostile.secret(name)) for name in NAMES} | changes
    return "lab_secrets:\n" + "".join(f"  {name}: {value}\n" for name, value in values.items() if value)


def test_hostile_secrets_and_an_integer_are_accepted(tmp_path: Path) -> None:
    assert preflight(tmp_path, vault(broker_monitor="1234567890123456")) == ""


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"broker_flower": ""}, "lab_secrets lacks broker_flower; set it in group_vars/all/vault.yml"),
        (
            {"broker_flower": '""', "broker_admin": "short"},
            "broker_admin, broker_flower of lab_secrets cannot",
        ),
        (
            {"erlang_cookie": "c" * 256},
            "erlang_cookie of lab_secrets cannot be used; a secret needs 16 to 256",
        ),
        ({"database_owner": "d" * 257}, "database_owner of lab_secrets cannot be used"),
        (
            {"console_password": '"p\\u00e4ssword-of-the-lab"'},
            "console_password of lab_secrets cannot be used",
        ),
        ({"console_password": '"two lines of a\\ntext"'}, "console_password of lab_secrets cannot be used"),
        (
            {"console_password": '"a line end at the end\\n"'},
            "console_password of lab_secrets cannot be used",
        ),
        ({"broker_mosaic": "12345678901234567890.5"}, "broker_mosaic of lab_secrets cannot be used"),
        ({"broker_mosaic": "2026-11-30 12:00:00"}, "broker_mosaic of lab_secrets cannot be used"),
        ({"broker_mosaic": "[a-secret-of-a-list]"}, "broker_mosaic of lab_secrets cannot be used"),
        (
            {"database_mosaic": "md5" + "0a" * 16},
            "database_mosaic of lab_secrets cannot be used, because Post",
        ),
        ({"broker_admin": '"a-secret {{ of hunters"'}, "a YAML file needs !unsafe before a secret"),
    ],
)
def test_a_secret_that_cannot_be_used_is_refused_by_name(
    tmp_path: Path, changes: dict[str, str], sentence: str
) -> None:
    said = preflight(tmp_path, vault(**changes))
    assert sentence in said
    values: list[Any] = [value.strip('"') for value in changes.values() if len(value) > 2]
    assert not any(value in said for value in values)


def test_secrets_that_are_not_there_at_all(tmp_path: Path) -> None:
    assert "lab_secrets is missing" in preflight(tmp_path, "other: 1\n")
