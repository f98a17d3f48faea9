"""The smallest lab on three VMs of this machine, reached by SSH only: booted, made, verified, removed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from labctl.commands import box, demo, down, drill, up, verify
from labctl.context import Context
from labctl.errors import LabError, UsageError
from labctl.lab.files import remove_state
from labctl.paths import ROOT, LabPaths
from labctl.programs import process
from labctl.screen import Screen
from labctl.status import nodes, report
from labctl.substrates.ssh import HostSubstrate
from labctl.testing import devtools, junit
from labctl.testing.cases import Cases

LAB = "warren-test-vm"
INVENTORY = ROOT / "inventories" / "trial"
FOLDER = ROOT / ".lab" / "vm"  # as the inventory has it
_RUN_BOX = ROOT / "images" / "run-box"


@dataclass(frozen=True)
class Machine:
    """One VM. `https_port` is None where nothing is served to a browser."""

    name: str
    address: str
    ssh_port: int
    https_port: int | None
    memory_mb: int

    def command(self, image: Path, folder: Path) -> list[str]:
        """Command line that boots it and returns when it answers."""
        memory = f"LAB_VM_MEMORY={self.memory_mb}"
        words = [str(_RUN_BOX), str(image), str(folder), self.name, self.address, str(self.ssh_port)]
        return ["env", memory, *words, *([str(self.https_port)] if self.https_port else [])]


def machines(inventory: Path = INVENTORY) -> list[Machine]:
    """The VMs that the inventory names, each once."""
    content = yaml.safe_load((inventory / "hosts.yml").read_text(encoding="utf-8"))
    browser = urlsplit(content["all"]["vars"]["lab_url"]).port
    found: dict[str, Machine] = {}
    for group in ("brokers", "workers", "gateways"):
        for name, own in content[group]["hosts"].items():
            port = browser if group == "gateways" else None
            found[name] = Machine(name, own["lab_address"], own["ansible_port"], port, own["lab_memory_mb"])
    return list(found.values())


class Cycle:
    """One run; `report` is a JUnit report of its steps."""

    def __init__(self, reports: Path, screen: Screen) -> None:
        self._reports = reports
        self._screen = screen
        self._cases = Cases(screen)
        self._paths = LabPaths(LAB)
        self._lab = Context(self._paths, HostSubstrate(self._paths, INVENTORY), screen)
        self.report = reports / "vm.xml"

    def run(self, *, keep: bool) -> list[Path]:
        """Reports of all that ran; the VMs are removed at the end, also after a failure, unless kept."""
        written = [self.report]
        case = self._cases.run
        ours = False
        try:
            if case("the box is there, and no other trial runs", self._prepare):
                ours = True
                if case("three VMs boot", self._boot) and case("up makes the lab", self._up):
                    case("a second up changes nothing", self._up_again)
                    written.append(self._verify())
                    case("a picture is rendered", lambda: demo.run(self._lab, demo.View()))
                    case("status says healthy", self._status)
                    case("a drill loses nothing", lambda: drill.prove(self._lab, "kill-pool-child"))
                    case("down refuses to remove hosts that others made", self._down)
        finally:
            if ours and not keep:
                case("the VMs are removed", self._remove)
            junit.write(self.report, "vm", self._cases.done)
        return written

    def _prepare(self) -> None:
        if FOLDER.exists():
            raise UsageError(
                "VMs of a trial are in .lab/vm already; remove them with: images/run-box --stop .lab/vm"
            )
        devtools.ensure_qemu(self._screen)
        self._box = box.ensure_box(self._paths, "libvirt", self._screen)

    def _boot(self) -> None:
        wanted = machines()
        with self._screen.step("boot the VMs") as step, ThreadPoolExecutor(len(wanted)) as pool:
            step.update(", ".join(machine.name for machine in wanted))
            booted = list(pool.map(lambda vm: process.follow(vm.command(self._box, FOLDER), step), wanted))
            said = [line for done in booted for line in done.lines]
            step.ok = all(done.ok for done in booted)
            step.result = "; ".join(line.partition(";")[0] for line in said)
        if not step.ok:
            raise LabError("\n".join(said))

    def _up(self) -> None:
        up.run(self._lab, check=False, show=False)

    def _up_again(self) -> None:
        summary = up.run(self._lab, check=False, show=False)
        if summary.total_changed:
            raise LabError(f"The second up changed {summary.total_changed} things: {summary.changed}.")

    def _verify(self) -> Path:
        """Also what breaks something on purpose, as the restart of every host."""
        return verify.run(self._lab, disruptive=True, reports=self._reports, name="verify-vm").report

    def _status(self) -> None:
        said = nodes.read(self._lab)
        if not said["healthy"]:
            raise LabError(f"status says: {' '.join(report.complaints(said))}")

    def _down(self) -> None:
        try:
            down.command(self._lab, everything=False)
        except UsageError:
            return
        raise LabError("down did not refuse.")

    def _remove(self) -> None:
        lines: list[str] = []
        if process.stream([str(_RUN_BOX), "--stop", str(FOLDER)], lines.append) != 0 or FOLDER.exists():
            raise LabError("\n".join(["The VMs could not be removed:", *lines]))
        remove_state(self._paths)
