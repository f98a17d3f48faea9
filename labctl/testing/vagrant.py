"""The smallest lab by `vagrant up --provider=docker`, beside any other: made, verified, destroyed.

All of it runs from a copy of the project without .git, in a folder with a space and an umlaut, and on hosts
whose sudo has the umask 077.
"""

import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from labctl.ansible import failures, playbooks
from labctl.commands import box
from labctl.context import Context
from labctl.errors import LabError
from labctl.machine import engine, network
from labctl.paths import ROOT, LabPaths
from labctl.programs import process
from labctl.screen import Screen
from labctl.substrates.ssh import HostSubstrate
from labctl.testing import devtools
from labctl.testing.checks import Suite
from labctl.testing.cycle import Action, Cycle
from labctl.topology import declaration

LAB = "warren-test-vagrant"
COPY = ROOT / ".lab" / "Räume und Zeit"
INVENTORY = COPY / "inventories" / "vagrant"
TOPOLOGY = COPY / "inventories" / "topology-trial.yml"
_NOT_COPIED = shutil.ignore_patterns(".git", ".lab", ".venv", ".vagrant", "__pycache__", ".*_cache")
_UMASK = (
    "printf 'Defaults umask=0077, umask_override\\n' >/etc/sudoers.d/umask; chmod 0440 /etc/sudoers.d/umask"
)
_EVENT = re.compile(r"^(?:TASK|PLAY|RUNNING HANDLER) \[(?P<task>[^\]]*)\]|^==> (?P<machine>[\w-]+: .*)$")


class VagrantCycle(Cycle):
    """`vagrant up`, then the copy's ./lab up, which has another way to the hosts, its checks and a drill."""

    name = "vagrant"

    def __init__(self, reports: Path, screen: Screen) -> None:
        paths = LabPaths(LAB, COPY)
        super().__init__(Context(paths, HostSubstrate(paths, INVENTORY), screen), reports)
        self._folder = paths.state / "vagrant"  # what Vagrant knows of its machines
        self._network = ""

    def prepare(self) -> None:
        devtools.ensure_vagrant(self.lab.screen)
        if self._folder.exists():
            self.remove()
        shutil.rmtree(COPY, ignore_errors=True)
        shutil.copytree(ROOT, COPY, symlinks=True, ignore=_NOT_COPIED)
        box.ensure_images(LabPaths(LAB), self.lab.screen)
        usual = declaration.load(declaration.TOPOLOGY_FILE).network
        self._network = network.free(self.lab.paths, usual, engine.require())

    def make(self) -> None:
        self._lab("make its Python environment", "--version")
        self._vagrant("make the machines", ["up", "--provider=docker", "--no-provision"])
        client = engine.require()
        for file in self._folder.glob("machines/*/docker/id"):
            done = client.containers.get(file.read_text(encoding="utf-8")).exec_run(["sh", "-c", _UMASK])
            if done.exit_code != 0:
                raise LabError(f"The umask of {file.parents[1].name} cannot be set: {done.output!r}")
        self._vagrant("install and configure the machines", ["provision"])

    def _up_again(self) -> None:
        said = self._lab("a second up", "up", "--no-verify", "--no-demo")
        if not any("is up: changed=0" in line for line in said):
            raise LabError("The second up changed something:\n" + "\n".join(said[-3:]))

    def check(self) -> list[Suite]:
        suite = Suite("verify-vagrant", self.reports / "verify-vagrant.xml", self.reports / "vagrant.log")
        try:
            self._lab("verify the nodes", "verify")
        except LabError as error:  # the report has it too
            self.lab.screen.fail(str(error))
        written = self.lab.paths.state / "reports" / "verify.xml"
        if not written.exists():
            raise LabError("./lab verify has written no report.")
        shutil.copy(written, suite.report)
        return [suite]

    def uses(self) -> Iterable[tuple[str, Action]]:
        yield "a drill over SSH loses nothing", lambda: self._lab("a drill", "drill", "kill-pool-child")

    def remove(self) -> None:
        """Vagrant destroys its machines; what it leaves behind is named."""
        client = engine.require()
        made = {file.read_text(encoding="utf-8") for file in self._folder.glob("machines/*/docker/id")}
        if shutil.which("vagrant"):
            self._vagrant("destroy the machines", ["destroy", "--force"])
        left = [str(item.name) for item in client.containers.list(all=True) if item.id in made]
        left += [str(item.name) for item in client.networks.list() if self._is_ours(item.attrs)]
        if left:
            raise LabError(
                f"vagrant destroy left {', '.join(left)}; remove them with docker rm, docker network rm."
            )
        shutil.rmtree(COPY)

    def _is_ours(self, attributes: dict[str, Any]) -> bool:
        return any(config.get("Subnet") == self._network for config in attributes["IPAM"]["Config"] or [])

    def _vagrant(self, title: str, words: Sequence[str]) -> None:
        extra = {"LAB_TOPOLOGY": str(TOPOLOGY)}
        if self._network:
            extra["LAB_NETWORK"] = self._network.rpartition(".")[0]
        self._run(title, ["vagrant", *words], extra)

    def _lab(self, title: str, *words: str) -> list[str]:
        return self._run(title, [str(COPY / "lab"), f"--inventory={INVENTORY}", *words])

    def _run(self, title: str, words: Sequence[str], extra: Mapping[str, str] | None = None) -> list[str]:
        """Run a program in the copy and return what it prints; raises LabError with its last lines."""
        extra = {"ANSIBLE_CONFIG": str(COPY / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0", **(extra or {})}
        extra["VAGRANT_DOTFILE_PATH"] = str(self._folder)  # the inventory reads what Vagrant wrote there
        with self.lab.screen.step(title) as step:
            environment = playbooks.environment(self.lab.paths, mitogen=False, extra=extra)
            done = process.follow(words, step, subject=_subject, environment=environment, cwd=COPY)
            step.ok = done.ok
        log = self.reports / "vagrant.log"
        with log.open("a", encoding="utf-8") as file:
            file.write("\n".join([f"$ {' '.join(words)}", *done.lines, ""]))
        if not step.ok:
            raise LabError(f"{failures.ending(done.lines)}\n  log: {os.path.relpath(log, ROOT)}")
        return done.lines


def _subject(line: str) -> str:
    found = _EVENT.match(line)
    return (found["task"] or found["machine"]) if found else ""
