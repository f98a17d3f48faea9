"""The smallest lab by `vagrant up --provider=docker`, beside any other: made, verified, destroyed."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labctl.ansible import failures, playbooks
from labctl.commands import box, drill, up, verify
from labctl.context import Context
from labctl.errors import LabError
from labctl.machine import engine, network
from labctl.paths import ROOT, LabPaths
from labctl.programs import process
from labctl.screen import Screen
from labctl.substrates.ssh import HostSubstrate
from labctl.testing import devtools, junit
from labctl.testing.cases import Cases
from labctl.topology import declaration

LAB = "warren-test-vagrant"
INVENTORY = ROOT / "inventories" / "vagrant"
TOPOLOGY = ROOT / "inventories" / "topology-trial.yml"
_EVENT = re.compile(r"^(?:TASK|PLAY|RUNNING HANDLER) \[(?P<task>[^\]]*)\]|^==> (?P<machine>[\w-]+: .*)$")


class Cycle:
    """One run; `report` is a JUnit report of its steps."""

    def __init__(self, reports: Path, screen: Screen) -> None:
        self._reports = reports
        self._screen = screen
        self._cases = Cases(screen)
        self._paths = LabPaths(LAB)
        self._folder = self._paths.state / "vagrant"  # what Vagrant knows of its machines
        self._network = ""
        self.report = reports / "vagrant.xml"

    def run(self, *, keep: bool) -> list[Path]:
        """Reports of all that ran; the machines are destroyed at the end, also on failure, unless kept."""
        written = [self.report]
        case = self._cases.run
        # The inventory reads what Vagrant wrote there.
        os.environ["VAGRANT_DOTFILE_PATH"] = str(self._folder)
        try:
            if case("Vagrant and its images are there", self._prepare) and case("vagrant up", self._up):
                lab = Context(self._paths, HostSubstrate(self._paths, INVENTORY), self._screen)
                case("./lab up changes nothing", lambda: self._up_again(lab))
                suite = verify.run(lab, reports=self._reports, name="verify-vagrant")
                written.append(suite.report)
                case("a drill over SSH loses nothing", lambda: drill.prove(lab, "kill-pool-child"))
        finally:
            if not keep:
                case("vagrant destroy leaves nothing behind", self._destroy)
            del os.environ["VAGRANT_DOTFILE_PATH"]
            junit.write(self.report, "vagrant", self._cases.done)
        return written

    def _prepare(self) -> None:
        devtools.ensure_vagrant(self._screen)
        if self._folder.exists():
            self._destroy()
        box.ensure_images(self._paths, self._screen)
        usual = declaration.load(declaration.TOPOLOGY_FILE).network
        self._network = network.free(self._paths, usual, engine.require())

    def _up(self) -> None:
        self._vagrant("make the machines", ["up", "--provider=docker"])

    @staticmethod
    def _up_again(lab: Context) -> None:
        """By another way in than Vagrant's: Mitogen, from ./lab."""
        changed = up.run(lab, check=False, show=False).total_changed
        if changed:
            raise LabError(f"./lab up changed {changed} things of what vagrant up had made.")

    def _destroy(self) -> None:
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
        shutil.rmtree(self._paths.state, ignore_errors=True)

    def _is_ours(self, attributes: dict[str, Any]) -> bool:
        return any(config.get("Subnet") == self._network for config in attributes["IPAM"]["Config"] or [])

    def _vagrant(self, title: str, words: Sequence[str]) -> None:
        """Run a vagrant command; raises LabError with its last lines when it fails."""
        extra = {"LAB_TOPOLOGY": str(TOPOLOGY), "ANSIBLE_FORCE_COLOR": "0"}
        if self._network:
            extra["LAB_NETWORK"] = self._network.rpartition(".")[0]
        with self._screen.step(title) as step:
            environment = playbooks.environment(self._paths, mitogen=False, extra=extra)
            done = process.follow(["vagrant", *words], step, subject=_subject, environment=environment)
            step.ok = done.ok
        log = self._reports / "vagrant.log"
        with log.open("a", encoding="utf-8") as file:
            file.write("\n".join([f"$ vagrant {' '.join(words)}", *done.lines, ""]))
        if not step.ok:
            raise LabError(f"{failures.ending(done.lines)}\n  log: {os.path.relpath(log, ROOT)}")


def _subject(line: str) -> str:
    found = _EVENT.match(line)
    return (found["task"] or found["machine"]) if found else ""
