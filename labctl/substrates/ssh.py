"""Hosts that exist already and are reached by SSH: VMs and cloud machines, from any Ansible inventory."""

import base64
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
        self.inventory = inventory

    @cached_property
    def _listed(self) -> dict[str, Any]:
        done = self._run("ansible-inventory", "--list")
        if done.returncode != 0:
            raise UsageError(f"Inventory {self.inventory} cannot be read: {_cause(done.stderr)}")
        content: dict[str, Any] = json.loads(done.stdout)
        return content

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, "--inventory", str(self.inventory), *arguments],
            check=False,
            capture_output=True,
            text=True,
            env=playbooks.environment(self._paths, mitogen=False, extra={"ANSIBLE_FORCE_COLOR": "0"}),
        )

    def groups(self) -> dict[str, list[str]]:
        found = {group: list(self._listed.get(group, {}).get("hosts", [])) for group in GROUPS}
        if not any(found.values()):
            raise UsageError(
                f"Inventory {self.inventory} has no host in {', '.join(GROUPS)}; name its groups as"
                " inventories/docker does."
            )
        return found

    def variables(self, node: str) -> dict[str, Any]:
        """The variables of a host in the inventory."""
        found: dict[str, Any] = self._listed["_meta"]["hostvars"].get(node, {})
        return found

    def url(self) -> str:
        return str(self._first_value("lab_url"))

    def make(self, screen: Screen) -> Made:
        hosts = len(distinct(self.groups()))
        screen.note(f"{hosts} hosts of {os.path.relpath(self.inventory)} are used as they are")
        if self.patience() != 1:
            screen.note(f"waits and checks take {self.patience():g} times as long (lab_patience)")
        return Made(0, hosts)

    def is_installed(self) -> bool:
        return False  # others may have changed the hosts

    def remember_installed(self) -> None:
        return None

    def states(self) -> dict[str, str]:
        return {}

    def shell(self, node: str, command: list[str], *, terminal: bool = False) -> list[str]:
        known = distinct(self.groups())
        if node not in known:
            raise UsageError(f"No node is called {node!r}; there are {', '.join(known)}.")
        variables = self.variables(node)
        if not terminal and any(variables.get(f"ansible_become_{word}") for word in ("password", "pass")):
            raise UsageError(
                f"{node} needs a password for sudo, which only playbooks pass on; allow its SSH user sudo"
                " without a password (NOPASSWD), or use only ./lab up --no-verify --no-demo, ./lab run and"
                " ./lab shell."
            )
        user = variables.get("ansible_user")
        address = str(variables.get("ansible_host", node))
        words = ["ssh", "-o", f"ConnectTimeout={CONNECT_S}"]
        for option, name in (("-p", "ansible_port"), ("-i", "ansible_ssh_private_key_file")):
            if variables.get(name):
                words += [option, str(variables[name])]
        words += shlex.split(str(variables.get("ansible_ssh_common_args", "")))
        if terminal:
            words.append("-t")
        there = command or ["bash", "-l"]
        if variables.get("ansible_become"):
            there = ["sudo", *there]
        return [*words, f"{user}@{address}" if user else address, shlex.join(there)]

    def power_off(self, node: str) -> None:
        """Reset the host, which boots again at once: one that is off could not be reached to switch it on."""
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
        """The console's password from the inventory's lab_secrets, which may be in a vault."""
        with contextlib.suppress(UsageError):
            return console_api.password(self._paths)
        gateway = next(iter(self.groups()["gateways"]), "localhost")
        # Ansible prints some characters of a password in another form, but none of base64.
        words = ["msg={{ lab_secrets.console_password | string | b64encode }}"]
        done = self._run(
            "ansible", gateway, "--one-line", "--module-name=ansible.builtin.debug", "--args", *words
        )
        found = re.search(r'"msg": "([A-Za-z0-9+/]{20,}=*)"', done.stdout)
        if found is None:
            raise UsageError(
                f"Inventory {self.inventory} has no lab_secrets.console_password that can be read; fill in"
                " its vault, and name the file with the vault's password in ANSIBLE_VAULT_PASSWORD_FILE."
            )
        return base64.b64decode(found[1]).decode()

    def _first_value(self, name: str) -> object:
        values = (variables.get(name) for variables in self._listed["_meta"]["hostvars"].values())
        return next((value for value in values if value), "")


def _cause(output: str) -> str:
    """The error of an inventory script, else Ansible's last line."""
    found = re.search(r"^Standard error from inventory script:\n(.+)$", output, re.MULTILINE)
    if found:
        return found[1]
    if re.search(r"no vault secrets|Decryption failed", output):
        return "it has an encrypted vault; give the right password by ANSIBLE_VAULT_PASSWORD_FILE."
    lines = output.strip().splitlines() or ["no message"]
    return f"{lines[-1].removeprefix('[ERROR]: ').rstrip('.')}; correct it."
