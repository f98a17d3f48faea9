"""A proxy variable and a umask of a host change nothing that the roles and the checks do there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from labctl.paths import ROOT

TASK_FILES = sorted(
    file
    for pattern in (
        "roles/*/tasks/*.yml",
        "roles/*/handlers/*.yml",
        "playbooks/**/*.yml",
        "molecule/**/*.yml",
    )
    for file in ROOT.glob(pattern)
    if not {"group_vars", "vars", "files"} & set(file.parts)
)
#: Modules that create files and directories; without a mode, the umask of the host decides who can read them.
WRITERS = {
    "assemble",
    "blockinfile",
    "copy",
    "file",
    "get_url",
    "htpasswd",
    "ini_file",
    "lineinfile",
    "openssl_privatekey",
    "tempfile",
    "template",
    "unarchive",
    "x509_certificate",
}
#: Programs that run on the nodes.
PROGRAMS = sorted(
    file
    for pattern in (
        "roles/*/files/*",
        "tests/nodes/on_node/*.py",
        "labctl/status/node_status.py",
        "tour/*.py",
    )
    for file in ROOT.glob(pattern)
    if file.is_file()
)


class Loader(yaml.CSafeLoader):
    """Reads a value with a tag of Ansible as text."""


Loader.add_multi_constructor("!", lambda _loader, _tag, node: str(node.value))


def within(content: Any) -> Iterator[dict[str, Any]]:
    """Every task of a file, also those of its plays and blocks."""
    if isinstance(content, list):
        for item in content:
            yield from within(item)
    elif isinstance(content, dict):
        yield content
        for name in ("tasks", "pre_tasks", "post_tasks", "handlers", "block", "rescue", "always"):
            yield from within(content.get(name))


def uses(modules: set[str]) -> list[Any]:
    """(module, arguments) of every task that uses one of these modules, each with the id of its place."""
    return [
        pytest.param(name.rpartition(".")[2], arguments, id=f"{file.relative_to(ROOT)}: {task.get('name')}")
        for file in TASK_FILES
        for task in within(yaml.load(file.read_text(encoding="utf-8"), Loader))
        for name, arguments in task.items()
        if "." in name and name.rpartition(".")[2] in modules
    ]


@pytest.mark.parametrize(("module", "arguments"), uses({"uri"}))
def test_no_request_to_a_host_of_the_lab_goes_through_a_proxy(module: str, arguments: Any) -> None:
    if isinstance(arguments, str):
        assert arguments.startswith("{{ api_login | combine(")
        file = ROOT / "molecule" / "rabbitmq" / "vars" / "main.yml"
        arguments = yaml.safe_load(file.read_text(encoding="utf-8"))["api_login"]
    assert arguments.get("use_proxy") is False, f"{module} asks the proxy of the host's environment"


@pytest.mark.parametrize(("module", "arguments"), uses(WRITERS))
def test_who_can_read_a_file_does_not_depend_on_the_umask(module: str, arguments: Any) -> None:
    given = arguments if isinstance(arguments, dict) else {}
    written = module != "file" or given.get("state") not in ("absent", "link")
    edited = module in ("lineinfile", "blockinfile") and not given.get("create")
    assert "mode" in given or not written or edited, f"{module} has no mode: {arguments}"


@pytest.mark.parametrize("file", PROGRAMS, ids=lambda file: str(file.relative_to(ROOT)))
def test_programs_on_the_nodes_need_neither_proxy_nor_umask(file: Path) -> None:
    text = file.read_text(encoding="utf-8", errors="replace")
    if "urllib.request.urlopen" in text and file.name != "21-monitoring.py":  # it imports lesson.py
        assert 'os.environ["no_proxy"] = "*"' in text
    if text.startswith("#!/bin/sh") and re.search(r"(mkdir|touch|-m venv|-m pip) ", text):
        assert "\numask 022\n" in text, "what it installs must be readable for the users of the services"
