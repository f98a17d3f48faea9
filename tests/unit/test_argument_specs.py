"""What a role documents in meta/argument_specs.yml is what its defaults are, and every role has one shape."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.rendering import PLAYBOOKS, ROLES

NAMES = sorted(path.name for path in ROLES.iterdir() if path.is_dir())
PHASES = ("install", "configure")
TYPES: dict[str, type | tuple[type, ...]] = {
    "bool": bool,
    "dict": dict,
    "float": (int, float),
    "int": int,
    "list": list,
    "path": str,
    "str": str,
}


def load(*parts: str) -> Any:
    """Content of a YAML file of a role; {} when there is none."""
    file = ROLES.joinpath(*parts)
    return (yaml.safe_load(file.read_text()) if file.exists() else None) or {}


def options(role: str) -> dict[str, dict[str, Any]]:
    """Documented variables of a role."""
    specs: dict[str, Any] = load(role, "meta", "argument_specs.yml")["argument_specs"]
    return dict(specs["main"]["options"])


def same(left: object, right: object) -> bool:
    """Equal also in type: 1 is not true, 0.6 is not "0.6"."""
    return type(left) is type(right) and left == right


@pytest.fixture(params=NAMES)
def role(request: pytest.FixtureRequest) -> str:
    """Each role in turn."""
    return str(request.param)


def test_roles_are_found() -> None:
    assert {"base", "pki", "rabbitmq", "broker_proxy", "postgresql", "mosaic", "celery_worker"} <= set(NAMES)


def test_defaults_are_documented_with_their_values(role: str) -> None:
    documented = options(role)
    for name, value in load(role, "defaults", "main.yml").items():
        assert name in documented, f"{name} has a default and no specification"
        assert "default" in documented[name], f"{name} is specified without its default"
        assert same(documented[name]["default"], value), name


def test_documented_defaults_exist(role: str) -> None:
    defaults = load(role, "defaults", "main.yml")
    for name, option in options(role).items():
        if "default" in option:
            assert name in defaults, f"{name} is specified with a default that the role does not have"
        else:
            assert option.get("required") is True, f"{name} is neither required nor has it a default"


def test_required_variables_have_no_default(role: str) -> None:
    defaults = load(role, "defaults", "main.yml")
    for name, option in options(role).items():
        if option.get("required"):
            assert name not in defaults
            assert "default" not in option


def test_defaults_are_of_their_type(role: str) -> None:
    for name, option in options(role).items():
        kind = TYPES[option.get("type", "str")]
        if "default" in option:
            assert isinstance(option["default"], kind), name
        if option.get("type") == "list":
            assert "elements" in option, name
        assert str(option.get("description", "")).strip().endswith("."), f"{name}: no sentence describes it"


def test_passwords_are_not_shown(role: str) -> None:
    secret = re.compile("password|cookie|session_key|secret(?!s_file)")
    for name, option in options(role).items():
        if secret.search(name):
            assert option.get("no_log") is True, name


def test_names_begin_with_the_role(role: str) -> None:
    private = re.compile(rf"__{role}_")
    public = re.compile(rf"{role}_")
    for name in [*load(role, "defaults", "main.yml"), *options(role)]:
        assert public.match(name), name
    for name in load(role, "vars", "main.yml"):
        assert private.match(name), name


def registered(tasks: list[dict[str, Any]]) -> list[str]:
    """Names of variables that tasks set for later ones."""
    names: list[str] = []
    for task in tasks:
        names += [task["register"]] if "register" in task else []
        names += list(task.get("ansible.builtin.set_fact", {}))
        for part in ("block", "rescue", "always"):
            names += registered(task.get(part, []))
    return names


def task_files(role: str) -> list[Path]:
    """Files of tasks and handlers of a role."""
    return sorted(file for part in ("tasks", "handlers") for file in (ROLES / role / part).glob("*.yml"))


def test_registered_names_are_private(role: str) -> None:
    for file in task_files(role):
        for name in registered(yaml.safe_load(file.read_text()) or []):
            assert name.startswith(f"__{role}_"), f"{file.name}: {name}"


def test_the_two_phases_and_their_tags(role: str) -> None:
    tasks = yaml.safe_load((ROLES / role / "tasks" / "main.yml").read_text())
    phases = [(task["ansible.builtin.import_tasks"], task["tags"]) for task in tasks]
    assert phases == [(f"{phase}.yml", [phase]) for phase in PHASES]
    for phase in PHASES:
        assert load(role, "tasks", f"{phase}.yml"), f"{phase}.yml has no task"


def test_configuring_needs_no_network(role: str) -> None:
    """The configure phase runs alone on a node that was created from a baked image."""
    for file in task_files(role):
        if file.name.startswith("install"):
            continue
        for word in ("ansible.builtin.apt", "ansible.builtin.pip", "ansible.builtin.get_url", "pip install"):
            assert word not in file.read_text(), f"{file.name} uses {word}"


def test_task_files_are_short(role: str) -> None:
    for file in task_files(role):
        assert len(file.read_text().splitlines()) <= 75, f"{file.name} does more than one thing"


def test_meta_describes_the_role(role: str) -> None:
    meta = load(role, "meta", "main.yml")
    about = meta["galaxy_info"]
    assert meta["dependencies"] == [], "site.yml names the roles of a group; none is pulled in unseen"
    assert about["license"] == "MIT"
    assert about["min_ansible_version"] == "2.19"
    assert about["platforms"] == [{"name": "Debian", "versions": ["bookworm", "trixie"]}]
    spec = load(role, "meta", "argument_specs.yml")["argument_specs"]["main"]
    assert about["description"] == spec["short_description"]
    assert str(spec["description"]).strip().endswith(".")


def test_every_role_is_in_the_table_of_contents(role: str) -> None:
    plays = yaml.safe_load((PLAYBOOKS / "site.yml").read_text())
    assert role in [name for play in plays for name in play.get("roles", [])]


def test_table_of_contents_is_one() -> None:
    text = (PLAYBOOKS / "site.yml").read_text()
    assert len(text.splitlines()) <= 60
    for play in yaml.safe_load(text):
        assert "tasks" not in play, f"{play['name']}: work belongs into roles"


def test_group_variables_name_variables_of_roles() -> None:
    """A misspelt name in group_vars would leave a default in force, silently."""
    known = {name for role in NAMES for name in options(role)}
    for file in (PLAYBOOKS / "group_vars").rglob("*.yml"):
        for name in yaml.safe_load(file.read_text()) or {}:
            assert name.startswith("lab_") or name in known, f"{file.name}: {name}"


def local_tasks(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Tasks and blocks that work on the controller."""
    nested = [task for block in tasks for task in local_tasks(block.get("block", []))]
    return [task for task in tasks if task.get("delegate_to") == "localhost"] + nested


def test_no_task_becomes_root_on_the_controller() -> None:
    """An inventory's ansible_become outranks the keyword `become: false`."""
    found = [
        task for file in ROLES.glob("*/tasks/*.yml") for task in local_tasks(yaml.safe_load(file.read_text()))
    ]
    assert found
    assert [task["name"] for task in found if task.get("vars", {}).get("ansible_become") is not False] == []
