"""Hosts that exist already and are reached by SSH: VMs and cloud machines, from any Ansible inventory."""

import contextlib
import json
import os
import re
import shlex
import subprocess
import time
from functools import cached_property
from pathlib import Path
from typing import Any

from labctl import console_api
from labctl.ansible import playbooks
from labctl.errors import LabError, UsageError
from labctl.paths import LabPaths
from labctl.programs import remote
from labctl.screen import Screen
from labctl.substrates.base import Made, distinct
from labctl.topology.model import GROUPS

BOOT_S = 120.0
ANSWER_S = 5.0
CONNECT_S = 10
# The kernel restarts at once: nothing ends in order, nothing is written.
_POWER_CYCLE = (
    "echo 1 > /proc/sys/kernel/sysrq; (sleep 0.3; echo b > /proc/sysrq-trigger) </dev/null >/dev/null 2>&1 &"
)


class HostSubstrate:
    """The hosts of an inventory that follows the contract (groups, lab_address, lab_url)."""

    def __init__(self, paths: LabPaths, inventory: Path) -> None:
        self._paths = paths
        self._inventory = inventory

    @property
    def inventory(self) -> Path:
        return self._inventory

    @cached_property
    def _listed(self) -> dict[str, Any]:
        done = subprocess.run(
            ["ansible-inventory", "--inventory", str(self._inventory), "--list"],
            check=False,
            capture_output=True,
            text=True,
            env=playbooks.environment(self._paths, mitogen=False),
        )
        if done.returncode != 0:
            raise UsageError(f"Inventory {self._inventory} cannot be read: {_cause(done.stderr)}")
        content: dict[str, Any] = json.loads(done.stdout)
        return content

    def groups(self) -> dict[str, list[str]]:
        found = {group: list(self._listed.get(group, {}).get("hosts", [])) for group in GROUPS}
        if not any(found.values()):
            raise UsageError(
                f"Inventory {self._inventory} has no host in {', '.join(GROUPS)}; name its groups so, as"
                " inventories/docker does."
            )
        return found

    def url(self) -> str:
        return str(self._first_value("lab_url"))

    def make(self, screen: Screen) -> Made:
        hosts = len(distinct(self.groups()))
        screen.say(f"{hosts} hosts of {os.path.relpath(self._inventory)} are used as they are")
        return Made(0, hosts)

    def is_installed(self) -> bool:
        return False  # a host that others can change is asked each time

    def remember_installed(self) -> None:
        return None

    def states(self) -> dict[str, str]:
        return {}

    def shell(self, node: str, command: list[str], *, terminal: bool = False) -> list[str]:
        variables = self._variables(node)
        user = variables.get("ansible_user")
        address = str(variables.get("ansible_host", node))
        words = ["ssh", "-o", f"ConnectTimeout={CONNECT_S}"]
        if variables.get("ansible_port"):
            words += ["-p", str(variables["ansible_port"])]
        if variables.get("ansible_ssh_private_key_file"):
            words += ["-i", str(variables["ansible_ssh_private_key_file"])]
        words += shlex.split(str(variables.get("ansible_ssh_common_args", "")))
        if terminal:
            words.append("-t")
        there = command or ["bash", "-l"]
        if variables.get("ansible_become"):
            there = ["sudo", *there]
        return [*words, f"{user}@{address}" if user else address, shlex.join(there)]

    def power_off(self, node: str) -> None:
        """Cut the power and give it back at once: a host that is off cannot be reached to be switched on."""
        remote.output(self, node, ["sh", "-c", _POWER_CYCLE])

    def power_on(self, node: str) -> None:
        deadline = time.monotonic() + BOOT_S * self.patience()
        while True:
            try:
                remote.output(self, node, ["true"], seconds=ANSWER_S * self.patience())
            except LabError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)
            else:
                return

    def patience(self) -> float:
        return float(str(self._first_value("lab_patience") or 1))

    def console_password(self) -> str:
        """The console's password as the inventory's lab_secrets has it, which may be in a vault."""
        with contextlib.suppress(UsageError):
            return console_api.password(self._paths)
        gateway = next(iter(self.groups()["gateways"]), "localhost")
        words = ["ansible", "--inventory", str(self._inventory), gateway, "--one-line"]
        words += ["--module-name", "ansible.builtin.debug", "--args", "var=lab_secrets.console_password"]
        environment = playbooks.environment(self._paths, mitogen=False, extra={"ANSIBLE_FORCE_COLOR": "0"})
        done = subprocess.run(words, check=False, capture_output=True, text=True, env=environment)
        found = re.search(r'"lab_secrets.console_password": "([^"]{16,})"', done.stdout)
        if found is None:
            raise UsageError(
                f"Inventory {self._inventory} has no lab_secrets.console_password that can be read;"
                " fill in its vault, and give its password by ANSIBLE_VAULT_PASSWORD_FILE."
            )
        return found[1]

    def _variables(self, node: str) -> dict[str, Any]:
        known = distinct(self.groups())
        if node not in known:
            raise UsageError(f"No node is called {node!r}; there are {', '.join(known)}.")
        found: dict[str, Any] = self._listed["_meta"]["hostvars"].get(node, {})
        return found

    def _first_value(self, name: str) -> object:
        values = (variables.get(name) for variables in self._listed["_meta"]["hostvars"].values())
        return next((value for value in values if value), "")


def _cause(told: str) -> str:
    """What an inventory script said itself, else Ansible's last line."""
    found = re.search(r"^Standard error from inventory script:\n(.+)$", told, re.MULTILINE)
    if found:
        return found[1]
    if re.search(r"no vault secrets|Decryption failed", told):
        return "it has an encrypted vault; give the right password by ANSIBLE_VAULT_PASSWORD_FILE."
    lines = told.strip().splitlines() or ["no message"]
    return f"{lines[-1].removeprefix('[ERROR]: ').rstrip('.')}; correct it."
