"""Every substrate's inventory gives the same: groups, lab_address of each host, and variables of the lab."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from labctl.topology.declaration import REQUIRED_GROUPS
from labctl.topology.model import GROUPS
from tests.unit.rendering import DOCKER, PLAYBOOKS, ROLES, ROOT, render

CLOUD = ROOT / "inventories" / "cloud"
EXAMPLE_VAULT = CLOUD / "group_vars" / "all" / "vault.yml.example"
LAB_VARIABLES = ("lab_name", "lab_state_dir", "lab_cache_dir", "lab_url", "lab_secrets")


@cache
def listed(inventory: Path) -> dict[str, Any]:
    """An inventory as Ansible reads it."""
    program = Path(sys.executable).with_name("ansible-inventory")
    settings = {"LAB_NAME": "contract", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [program, "--inventory", inventory, "--list"],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **settings},
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def hosts(inventory: Path, group: str) -> list[str]:
    """Hosts of a group, maybe none."""
    return list(listed(inventory).get(group, {}).get("hosts", []))


def variables(inventory: Path) -> dict[str, dict[str, Any]]:
    """Variables of every host."""
    found: dict[str, dict[str, Any]] = listed(inventory)["_meta"]["hostvars"]
    return found


@pytest.fixture(params=[DOCKER, CLOUD], ids=lambda path: path.name)
def inventory(request: pytest.FixtureRequest) -> Path:
    """Each substrate's inventory in turn."""
    path: Path = request.param
    return path


def test_hosts_are_in_the_groups_of_the_contract(inventory: Path) -> None:
    known = {host for group in GROUPS for host in hosts(inventory, group)}
    assert set(variables(inventory)) == known
    assert set(listed(inventory)["all"]["children"]) - {"ungrouped"} == set(GROUPS)


def test_groups_that_a_lab_needs_have_hosts(inventory: Path) -> None:
    for group in REQUIRED_GROUPS:
        assert hosts(inventory, group), group
    assert len(hosts(inventory, "brokers")) % 2 == 1


def test_every_host_has_an_address_of_its_own_on_the_lab_network(inventory: Path) -> None:
    addresses = [ipaddress.ip_address(found["lab_address"]) for found in variables(inventory).values()]
    assert len(set(addresses)) == len(addresses)
    assert all(address.is_private for address in addresses)


def test_names_are_good_host_names(inventory: Path) -> None:
    for name in variables(inventory):
        assert re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name), name


@pytest.mark.parametrize("name", LAB_VARIABLES)
def test_every_host_knows_its_lab(inventory: Path, name: str) -> None:
    for host, found in variables(inventory).items():
        assert found.get(name), f"{host} lacks {name}"


def test_both_hold_the_secrets_that_the_plays_use() -> None:
    used = set(re.findall(r"lab_secrets\.(\w+)", (PLAYBOOKS / "group_vars" / "all.yml").read_text()))
    docker = next(iter(variables(DOCKER).values()))["lab_secrets"]
    vault = yaml.safe_load(EXAMPLE_VAULT.read_text())["vault_lab_secrets"]
    assert used
    assert used == set(docker) == set(vault)
    declared = yaml.safe_load((PLAYBOOKS / "group_vars" / "all.yml").read_text())["lab_requirements"]
    assert sorted(declared["secrets"]) == sorted(used), "what the preflight asks for"


def test_example_holds_no_secret() -> None:
    assert not any(yaml.safe_load(EXAMPLE_VAULT.read_text())["vault_lab_secrets"].values())


def test_roles_do_not_ask_for_the_substrate() -> None:
    words = re.compile(
        r"ansible_(connection|host|user|port)\b|\bdocker\b|\bvagrant\b|lab_(publish|data|image)"
    )
    for file in [*ROLES.rglob("*.yml"), *ROLES.rglob("*.j2"), *(PLAYBOOKS / "group_vars").rglob("*.yml")]:
        for number, line in enumerate(file.read_text().splitlines(), start=1):
            code = line.partition(" #")[0] if not line.lstrip().startswith("#") else ""
            assert not words.search(code), f"{file.relative_to(ROOT)}:{number}: {line.strip()}"


@pytest.mark.parametrize("place", ["hosts.yml", "group_vars/all.yml", "group_vars/all/mine.yml"])
def test_what_users_set_for_all_hosts_wins(tmp_path: Path, place: str) -> None:
    """Every variable of playbooks/group_vars/all.yml, set in one of the places for it in an inventory."""
    names = sorted(yaml.safe_load((PLAYBOOKS / "group_vars" / "all.yml").read_text()))
    mine, plays = tmp_path / "mine", tmp_path / "plays"
    (mine / place).parent.mkdir(parents=True)
    plays.mkdir()
    (plays / "group_vars").symlink_to(PLAYBOOKS / "group_vars")
    content = {name: f"my {name}" for name in names}
    hosts_file: dict[str, Any] = {"all": {"hosts": {"worker-1": {}}}}
    (mine / "hosts.yml").write_text(json.dumps(hosts_file))
    (mine / place).write_text(
        json.dumps({"all": {**hosts_file["all"], "vars": content}} if place == "hosts.yml" else content)
    )
    task = {"ansible.builtin.debug": {"msg": "{{ query('ansible.builtin.vars', *names) }}"}}
    play = {"hosts": "all", "gather_facts": False, "vars": {"names": names}, "tasks": [task]}
    (plays / "play.yml").write_text(json.dumps([play]))
    done = subprocess.run(
        [
            Path(sys.executable).with_name("ansible-playbook"),
            f"--inventory={mine}",
            str(plays / "play.yml"),
        ],
        check=False,
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout[done.stdout.index("{\n") :])
    (task_result,) = report["plays"][0]["tasks"]
    assert task_result["hosts"]["worker-1"]["msg"] == [f"my {name}" for name in names]


def test_the_same_plays_configure_machines_of_a_cloud(tmp_path: Path) -> None:
    """All that they write there, from the example with its vault filled in."""
    cloud = tmp_path / "cloud"
    shutil.copytree(CLOUD, cloud)
    names = yaml.safe_load(EXAMPLE_VAULT.read_text())["vault_lab_secrets"]
    secrets = {name: f"{index:032d}" for index, name in enumerate(names)}
    (cloud / "group_vars" / "all" / "vault.yml").write_text(json.dumps({"vault_lab_secrets": secrets}))
    rendered = render(tmp_path, cloud)
    assert {file.host for file in rendered.files} == set(variables(CLOUD))
    assert rendered.text("broker-2", "/var/lib/rabbitmq/.erlang.cookie") == secrets["erlang_cookie"]
    assert "server broker-3 10.20.0.13:5671 " in rendered.text("worker-2", "/etc/haproxy/haproxy.cfg")
    assert "10.20.0.41 database-1" in rendered.text("gateway-1", "/etc/hosts")
