"""Renders every file that the roles write, by Ansible itself, without a host to write it to.

playbooks/site.yml is taken as it is: its plays, hosts and roles, the roles' defaults, vars, filters and
argument specs, playbooks/group_vars and the inventory. Only the tasks of the roles are exchanged: those that
write a file from a template or from variables, or ask about units, become a `debug` task, with the same loop
and vars, that shows path and content.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
PLAYBOOKS = ROOT / "playbooks"
ROLES = ROOT / "roles"
DOCKER = ROOT / "inventories" / "docker"

# What tasks before the templates would have found out on a host.
FOUND_ON_HOSTS = {
    "__postgresql_found": {"matched": 1, "files": [{"path": "/etc/postgresql/17/main"}]},
    "__base_connection": {"stdout": "203.0.113.9 51514 10.20.0.11 2222"},
    "__base_hosts_templates": {"files": [{"path": "/etc/cloud/templates/hosts.debian.tmpl"}]},
}

# Path of a `File` that holds which units a role asks about, as JSON.
UNIT_STATE = "lab-unit-state"

DEBUG = "ansible.builtin.debug"
_KEPT = ("loop", "loop_control", "vars", "with_items")


@dataclass(frozen=True)
class File:
    """A file as a role would write it; `template` is "" when the content is given in the task itself."""

    host: str
    path: str
    content: str
    mode: str
    template: str


@dataclass(frozen=True)
class Rendered:
    """Every file of every host, and their secrets, by name."""

    files: tuple[File, ...] = field(repr=False)
    secrets: Mapping[str, str] = field(repr=False)

    def text(self, host: str, path: str) -> str:
        """Content of one file of one host."""
        return next(file.content for file in self.files if (file.host, file.path) == (host, path))

    def each(self, path: str) -> list[File]:
        """One file of every host that has it; at least one has."""
        found = [file for file in self.files if file.path == path]
        assert found, f"no host has {path}"
        return found


def render(scratch: Path, inventory: Path) -> Rendered:
    """Render for all hosts of an inventory; raises AssertionError with Ansible's words when it fails."""
    for role in sorted(path for path in ROLES.iterdir() if path.is_dir()):
        _mirror(role, scratch / "roles" / role.name)
    (scratch / "playbooks").mkdir()
    (scratch / "playbooks" / "group_vars").symlink_to(PLAYBOOKS / "group_vars")
    playbook = scratch / "playbooks" / "site.yml"
    plays = [play for play in yaml.safe_load((PLAYBOOKS / "site.yml").read_text()) if "hosts" in play]
    playbook.write_text(json.dumps([{**play, "vars": FOUND_ON_HOSTS} for play in plays]))
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-playbook")),
            f"--inventory={inventory}",
            f"--extra-vars={json.dumps({'lab_state_dir': str(scratch / 'state')})}",
            str(playbook),
        ],
        check=False,
        capture_output=True,
        text=True,
        env=_environment(scratch),
        cwd=ROOT,
    )
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    report = json.loads(done.stdout[done.stdout.index("{\n") :])
    files = (scratch / "state").glob("secrets/*")
    secrets = {file.name: file.read_text().removesuffix("\n") for file in files}
    return Rendered(tuple(_collect(report)), secrets)


def _environment(scratch: Path) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "LAB_"))},
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_ROLES_PATH": str(scratch / "roles"),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        "ANSIBLE_JINJA2_NATIVE_WARNING": "0",
        "ANSIBLE_FORKS": "2",
        "ANSIBLE_NOCOLOR": "1",
        "LAB_NAME": "rendered",
        "LC_ALL": "C.UTF-8",
    }


def _mirror(role: Path, mirror: Path) -> None:
    """The role with everything but its tasks and handlers, and tasks that show instead of write."""
    (mirror / "tasks").mkdir(parents=True)
    for part in role.iterdir():
        if part.name not in ("tasks", "handlers"):
            (mirror / part.name).symlink_to(part)
    shown = [task for file in sorted((role / "tasks").glob("*.yml")) for task in _shown(file)]
    plain = [task[DEBUG]["msg"] for task in shown if set(task) == {"name", DEBUG}]
    # One task for all of them: for each task, Ansible starts a process for each host.
    tasks = [{"name": f"Files of {role.name}", DEBUG: {"msg": plain}}] if plain else []
    tasks += [task for task in shown if set(task) != {"name", DEBUG}]
    (mirror / "tasks" / "main.yml").write_text(json.dumps(tasks))


def _shown(file: Path) -> Iterator[dict[str, Any]]:
    for task in _flat(yaml.safe_load(file.read_text()) or []):
        content = _content(task)
        if content is None:
            continue
        kept = {key: task[key] for key in _KEPT if key in task}
        yield {"name": task["name"], DEBUG: {"msg": content}, **kept}


def _flat(tasks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for task in tasks:
        yield task
        for part in ("block", "rescue", "always"):
            yield from _flat(task.get(part, []))


def _content(task: dict[str, Any]) -> dict[str, str] | None:
    if "ansible.builtin.template" in task:
        arguments = task["ansible.builtin.template"]
        # The lookup finds templates as the module does; it would turn a JSON text into a mapping otherwise.
        source = f"({_bare(arguments['src'])})"
        text = "{{ lookup('ansible.builtin.template', " + source + ", convert_data=false) }}"
        name = arguments["src"]
        return {"path": arguments["dest"], "content": text, "mode": arguments["mode"], "template": name}
    if "content" in task.get("ansible.builtin.copy", {}):
        arguments = task["ansible.builtin.copy"]
        return {"path": arguments["dest"], "content": arguments["content"], "mode": arguments["mode"]}
    if "ansible.builtin.blockinfile" in task:
        arguments = task["ansible.builtin.blockinfile"]
        return {"path": arguments["path"], "content": arguments["block"], "mode": arguments["mode"]}
    asked = task.get("ansible.builtin.command", {})
    if isinstance(asked, dict) and asked.get("argv", [""])[0] == UNIT_STATE:
        return {"path": UNIT_STATE, "content": asked["argv"][1], "mode": ""}
    return None


def _bare(template: str) -> str:
    """`{{ item.name }}.j2` as an expression: item.name ~ '.j2'."""
    parts = []
    for index, piece in enumerate(template.split("{{")):
        expression, _, rest = piece.partition("}}") if index else ("", "", piece)
        parts += [expression.strip()] if expression else []
        parts += [json.dumps(rest)] if rest else []
    return " ~ ".join(parts)


def _collect(report: dict[str, Any]) -> Iterator[File]:
    for play in report["plays"]:
        for task in play["tasks"]:
            for host, result in task["hosts"].items():
                for item in result.get("results", [result]):
                    shown = item.get("msg")
                    for file in shown if isinstance(shown, list) else [shown]:
                        if isinstance(file, dict) and "path" in file:
                            yield File(host, **{"template": "", **file})


def hosts_of(rendered: Rendered, prefix: str) -> list[str]:
    """Hosts of a group by their names' beginning."""
    return sorted({file.host for file in rendered.files if file.host.startswith(f"{prefix}-")})


def addresses(rendered: Rendered) -> dict[str, str]:
    """Address of each host, as /etc/hosts of the first broker has it."""
    lines = rendered.text("broker-1", "/etc/hosts").splitlines()
    return {name: address for address, name in (line.split() for line in lines)}


def settings(text: str) -> dict[str, str]:
    """A flat `key = value` file; a key that is given twice or a line of another form fails."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        key, separator, value = (part.strip() for part in line.partition("="))
        assert separator, line
        assert value, line
        assert key not in found, f"{key} is given twice"
        found[key] = value
    return found
