"""Image keys change with what the install phase reads, and with nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from labctl.images import keys
from labctl.paths import ROOT

SITE = """---
- import_playbook: first.yml
- hosts: all
  roles: [base]
- hosts: workers:gateways
  roles: [{role: mosaic}]
- hosts: [brokers]
  tasks:
    - ansible.builtin.import_role: {name: rabbitmq}
"""
FILES = {
    "playbooks/site.yml": SITE,
    "playbooks/first.yml": "- hosts: localhost\n  roles: [controller]\n",
    "playbooks/group_vars/all.yml": "a: 1\n",
    "roles/base/tasks/install.yml": "[]\n",
    "roles/base/tasks/configure.yml": "[]\n",
    "roles/base/templates/x.j2": "x\n",
    "roles/mosaic/templates/mosaic.service.j2": "x\n",
    "roles/mosaic/tasks/install_venv.yml": "[]\n",
    "roles/mosaic/meta/main.yml": "dependencies: [helper]\n",
    "roles/helper/defaults/main.yml": "h: 1\n",
    "roles/rabbitmq/files/deep/er": "x\n",
    "app/src/mosaic/tasks.py": "x = 1\n",
    "app/tests/test_x.py": "x = 1\n",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return tmp_path


def key(kind: str, project: Path, base: str = "base") -> str:
    keys.key.cache_clear()
    return keys.key(kind, project, base)


def test_roles_follow_plays_imports_and_dependencies(project: Path) -> None:
    assert keys.roles_of("workers", project) == ["base", "helper", "mosaic"]
    assert keys.roles_of("brokers", project) == ["base", "rabbitmq"]


@pytest.mark.parametrize(
    ("file", "workers", "brokers"),
    [
        ("roles/base/tasks/install.yml", True, True),
        ("playbooks/group_vars/all.yml", True, True),
        ("roles/mosaic/tasks/install_venv.yml", True, False),
        ("roles/helper/defaults/main.yml", True, False),
        ("app/src/mosaic/tasks.py", True, False),
        ("roles/rabbitmq/files/deep/er", False, True),
        ("roles/base/tasks/configure.yml", False, False),
        ("roles/base/templates/x.j2", False, False),
        ("roles/mosaic/templates/mosaic.service.j2", True, False),
        ("app/tests/test_x.py", False, False),
    ],
)
def test_a_change_reaches_the_groups_that_it_concerns(
    project: Path, file: str, workers: bool, brokers: bool
) -> None:
    before = key("workers", project), key("brokers", project)
    with (project / file).open("a", encoding="utf-8") as appended:
        appended.write("# changed\n")
    after = key("workers", project), key("brokers", project)
    assert (before[0] != after[0], before[1] != after[1]) == (workers, brokers)


def test_a_node_of_two_groups_has_the_roles_of_both(project: Path) -> None:
    before = key("brokers-workers", project)
    assert before not in (key("brokers", project), key("workers", project))
    for file in ("roles/rabbitmq/files/deep/er", "app/src/mosaic/tasks.py"):
        with (project / file).open("a", encoding="utf-8") as appended:
            appended.write("# changed\n")
        after = key("brokers-workers", project)
        assert after != before
        before = after


@pytest.mark.parametrize(
    ("tag", "ours"),
    [
        ("warren-node:1", True),
        ("warren-vagrant:brokers", True),
        ("warren-databases-gateways:1", True),
        ("warren-garden:1", False),
        ("warren:1", False),
        ("other/warren-node:1", False),
        ("node:1", False),
    ],
)
def test_only_images_of_labs_are_taken_for_such(tag: str, ours: bool) -> None:
    assert keys.is_of_a_lab(tag) is ours


def test_the_node_image_is_part_of_every_key(project: Path) -> None:
    assert key("workers", project, "one") != key("workers", project, "two")


def test_compiled_files_do_not_count(project: Path) -> None:
    before = key("workers", project)
    cache = project / "app/src/mosaic/__pycache__/tasks.cpython-313.pyc"
    cache.parent.mkdir()
    cache.write_bytes(b"x")
    assert key("workers", project) == before


def test_templates_of_the_install_phase_count() -> None:
    """Of the real roles: what their install tasks write belongs to the image, so it must change the key."""
    read = re.compile(r"src: (\S+\.j2)")
    written = [
        file.parents[1] / "templates" / name
        for file in sorted(ROOT.glob("roles/*/tasks/install*.yml"))
        for name in read.findall(file.read_text(encoding="utf-8"))
    ]
    assert written
    counted = {path for part in keys.ROLE_PARTS for path in ROOT.glob(f"roles/*/{part}")}
    assert set(written) <= counted
