"""The smallest lab by `vagrant up --provider=docker`, beside any other: made, verified, destroyed."""

import os
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from labctl.ansible import failures, playbooks
from labctl.commands import box, drill, verify
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
INVENTORY = ROOT / "inventories" / "vagrant"
TOPOLOGY = ROOT / "inventories" / "topology-trial.yml"
_EVENT = re.compile(r"^(?:TASK|PLAY|RUNNING HANDLER) \[(?P<task>[^\]]*)\]|^==> (?P<machine>[\w-]+: .*)$")


class VagrantCycle(Cycle):
    """`vagrant up`, then ./lab up by another way in than Vagrant's, all checks, and a drill over SSH."""

    name = "vagrant"

    def __init__(self, reports: Path, screen: Screen) -> None:
        paths = LabPaths(LAB)
        super().__init__(Context(paths, HostSubstrate(paths, INVENTORY), screen), reports)
        self._folder = paths.state / "vagrant"  # what Vagrant knows of its machines
        self._network = ""

    def run(self, *, keep: bool) -> list[Path]:
        os.environ["VAGRANT_DOTFILE_PATH"] = str(self._folder)  # the inventory reads what Vagrant wrote there
        try:
            return super().run(keep=keep)
        finally:
            del os.environ["VAGRANT_DOTFILE_PATH"]

    def prepare(self) -> None:
        devtools.ensure_vagrant(self.lab.screen)
        if self._folder.exists():
            self.remove()
        box.ensure_images(self.lab.paths, self.lab.screen)
        usual = declaration.load(declaration.TOPOLOGY_FILE).network
        self._network = network.free(self.lab.paths, usual, engine.require())

    def make(self) -> None:
        self._vagrant("make the machines", ["up", "--provider=docker"])

    def check(self) -> list[Suite]:
        return [verify.run(self.lab, reports=self.reports, name="verify-vagrant")]

    def uses(self) -> Iterable[tuple[str, Action]]:
        yield "a drill over SSH loses nothing", lambda: drill.prove(self.lab, "kill-pool-child")

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
        shutil.rmtree(self.lab.paths.state, ignore_errors=True)

    def _is_ours(self, attributes: dict[str, Any]) -> bool:
        return any(config.get("Subnet") == self._network for config in attributes["IPAM"]["Config"] or [])

    def _vagrant(self, title: str, words: Sequence[str]) -> None:
        """Run a vagrant command; raises LabError with its last lines when it fails."""
        extra = {"LAB_TOPOLOGY": str(TOPOLOGY), "ANSIBLE_FORCE_COLOR": "0"}
        if self._network:
            extra["LAB_NETWORK"] = self._network.rpartition(".")[0]
        with self.lab.screen.step(title) as step:
            environment = playbooks.environment(self.lab.paths, mitogen=False, extra=extra)
            done = process.follow(["vagrant", *words], step, subject=_subject, environment=environment)
            step.ok = done.ok
        log = self.reports / "vagrant.log"
        with log.open("a", encoding="utf-8") as file:
            file.write("\n".join([f"$ vagrant {' '.join(words)}", *done.lines, ""]))
        if not step.ok:
            raise LabError(f"{failures.ending(done.lines)}\n  log: {os.path.relpath(log, ROOT)}")


def _subject(line: str) -> str:
    found = _EVENT.match(line)
    return (found["task"] or found["machine"]) if found else ""
