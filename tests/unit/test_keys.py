"""Image keys change with what the install phase reads, and with nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from labctl.errors import UsageError
from labctl.images import keys
from labctl.paths import ROOT

SITE = """---
- ansible.builtin.import_playbook: preflight.yml
- hosts: all
  roles: [base]
- hosts: workers:gateways
  roles: [helper, mosaic]
- hosts: brokers
  roles: [rabbitmq]
"""
GROUP_VARS = """---
worker_instances:
  - {name: render, concurrency: 2}
worker_alerts: [down]
mosaic_folder: "{{ lab_folder }}/mosaic"
lab_folder: /opt
"""
FILES = {
    "playbooks/site.yml": SITE,
    "playbooks/group_vars/all.yml": GROUP_VARS,
    "roles/base/tasks/install.yml": "- copy: {src: hosts.sh}\n",
    "roles/base/tasks/configure.yml": "- template: {src: x.j2}\n- copy: {src: 'rules/{{ item }}'}\n",
    "roles/base/templates/x.j2": "{{ worker_alerts }}\n",
    "roles/base/files/hosts.sh": "x\n",
    "roles/base/files/rules/alerts.yml": "x\n",
    "roles/mosaic/defaults/main.yml": "mosaic_user: mosaic\nmosaic_port: 1\n",
    "roles/mosaic/templates/mosaic.service.j2": "User={{ mosaic_user }}\nRoot={{ mosaic_folder }}\n",
    "roles/mosaic/tasks/install_venv.yml": "- import_tasks: units.yml\n",
    "roles/mosaic/tasks/units.yml": "- template: {src: '{{ item }}.j2'}\n  loop: [mosaic.service]\n",
    "roles/helper/tasks/install.yml": "- apt: {name: '{{ helper_packages }}'}\n",
    "roles/helper/vars/main.yml": "helper_packages: [h]\n",
    "roles/rabbitmq/tasks/install.yml": "- copy: {src: deep}\n",
    "roles/rabbitmq/files/deep/er": "x\n",
    "app/pyproject.toml": "x = 1\n",
    "app/requirements.txt": "x==1\n",
    "app/src/mosaic/tasks.py": "x = 1\n",
    "celery_durable/pyproject.toml": "x = 1\n",
    "celery_durable/src/celery_durable/delays.py": "x = 1\n",
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


def test_roles_follow_plays(project: Path) -> None:
    assert keys.roles_of("workers", project) == ["base", "helper", "mosaic"]
    assert keys.roles_of("brokers", project) == ["base", "rabbitmq"]


def test_roles_are_nowhere_but_in_the_plays_of_site_yml() -> None:
    first, *plays = yaml.safe_load((ROOT / "playbooks" / "site.yml").read_text())
    assert first["ansible.builtin.import_playbook"] == "preflight.yml"
    assert "roles" not in yaml.safe_load((ROOT / "playbooks" / "preflight.yml").read_text())[0]
    for play in plays:
        assert isinstance(play["hosts"], str)
        assert all(isinstance(role, str) for role in play["roles"])
        assert not play.keys() & {"pre_tasks", "tasks", "post_tasks"}
    for meta in ROOT.glob("roles/*/meta/main.yml"):
        assert not yaml.safe_load(meta.read_text()).get("dependencies"), meta


@pytest.mark.parametrize(
    ("file", "workers", "brokers"),
    [
        ("roles/base/tasks/install.yml", True, True),
        ("roles/base/files/hosts.sh", True, True),
        ("roles/mosaic/tasks/install_venv.yml", True, False),
        ("roles/mosaic/tasks/units.yml", True, False),
        ("roles/mosaic/templates/mosaic.service.j2", True, False),
        ("roles/helper/tasks/install.yml", True, False),
        ("app/pyproject.toml", True, False),
        ("app/requirements.txt", True, False),
        ("app/src/mosaic/tasks.py", True, False),
        ("celery_durable/pyproject.toml", True, False),
        ("celery_durable/src/celery_durable/delays.py", True, False),
        ("roles/rabbitmq/files/deep/er", False, True),
        ("roles/base/tasks/configure.yml", False, False),
        ("roles/base/templates/x.j2", False, False),
        ("roles/base/files/rules/alerts.yml", False, False),
        ("playbooks/group_vars/all.yml", False, False),
        ("roles/helper/vars/main.yml", False, False),
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


@pytest.mark.parametrize(
    ("file", "old", "new", "workers"),
    [
        ("playbooks/group_vars/all.yml", "/opt", "/srv", True),
        ("playbooks/group_vars/all.yml", "lab_folder }}/mosaic", "lab_folder }}/m", True),
        ("roles/mosaic/defaults/main.yml", "user: mosaic", "user: other", True),
        ("roles/helper/vars/main.yml", "[h]", "[h, i]", True),
        ("roles/mosaic/defaults/main.yml", "port: 1", "port: 2", False),
        ("playbooks/group_vars/all.yml", "concurrency: 2", "concurrency: 4", False),
        ("playbooks/group_vars/all.yml", "down", "up", False),
        ("playbooks/group_vars/all.yml", "/opt", "'/opt'  # the same", False),
        ("playbooks/group_vars/all.yml", "/opt", "!unsafe /opt", True),
        ("playbooks/group_vars/all.yml", "[down]", "!vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  3161", False),
    ],
)
def test_a_variable_counts_when_the_install_phase_reads_it(
    project: Path, file: str, old: str, new: str, workers: bool
) -> None:
    before = key("workers", project), key("brokers", project)
    text = (project / file).read_text(encoding="utf-8")
    assert old in text
    (project / file).write_text(text.replace(old, new), encoding="utf-8")
    assert (key("workers", project) != before[0]) is workers
    assert key("brokers", project) == before[1]


def test_variables_that_cannot_be_read_are_named(project: Path) -> None:
    (project / "playbooks/group_vars/all.yml").write_text("a: [", encoding="utf-8")
    with pytest.raises(UsageError, match=r"all\.yml cannot be read"):
        key("workers", project)


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


def sources(tasks: Path) -> Iterator[str]:
    """What tasks of a real role copy or render, with each item of their loops."""
    for task in yaml.safe_load(tasks.read_text(encoding="utf-8")):
        written = task.get("ansible.builtin.copy") or task.get("ansible.builtin.template") or {}
        items = task.get("loop", [""])  # a text where the items are computed at run time
        for item in items if "src" in written and isinstance(items, list) else []:
            name = item if isinstance(item, str) else item.get("src") or item["name"]
            yield name.join(re.split(r"\{\{ item[.\w]* \}\}", written["src"]))


def test_files_of_the_install_phase_count() -> None:
    """Of the real roles: what their install tasks write belongs to the image, so it must change the key."""
    files, variables = keys.install_reads([path.name for path in (ROOT / "roles").iterdir()])
    written = {
        tasks.parents[1] / ("templates" if name.endswith(".j2") else "files") / name
        for tasks in files
        if tasks.parent.name == "tasks"
        for name in sources(tasks)
        if "{{" not in name
    }
    assert len(written) > 20
    assert written <= files
    assert {"mosaic_directory", "flower_directory", "mosaic_logs_directory"} <= variables.keys()


def test_what_only_the_configure_phase_reads_does_not_count() -> None:
    """Of the real roles: these are changed often, and hosts take them up without being installed anew."""
    files, variables = keys.install_reads(keys.roles_of("monitors") + keys.roles_of("workers"))
    assert (
        not {"lab_applications", "celery_worker_applications", "rabbitmq_policies", "monitoring_jobs"}
        & variables.keys()
    )
    assert not [file for file in files if "rules" in file.parts or file.name == "configure.yml"]


def test_sources_of_the_application_are_those_of_the_role() -> None:
    declared = yaml.safe_load((ROOT / "playbooks/group_vars/all.yml").read_text(encoding="utf-8"))
    assert declared["mosaic_sources"] == [f"{{{{ playbook_dir }}}}/../{name}" for name in keys.APP_SOURCES]
    assert declared["mosaic_requirements"] == f"{{{{ playbook_dir }}}}/../{keys.APP_REQUIREMENTS}"
