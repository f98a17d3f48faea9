"""The smallest lab on three VMs of this machine, reached by SSH only: booted, made, verified, removed."""

from collections.abc import Iterable
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
from labctl.status import nodes
from labctl.substrates.ssh import HostSubstrate
from labctl.testing import devtools
from labctl.testing.checks import Suite
from labctl.testing.cycle import Action, Cycle

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


class VmCycle(Cycle):
    """VMs booted from the box, then ./lab up over SSH, all checks, a picture and a drill."""

    name = "vm"

    def __init__(self, reports: Path, screen: Screen) -> None:
        paths = LabPaths(LAB)
        super().__init__(Context(paths, HostSubstrate(paths, INVENTORY), screen), reports)

    def prepare(self) -> None:
        if FOLDER.exists():
            raise UsageError(
                "VMs of a trial are in .lab/vm already; remove them with: images/run-box --stop .lab/vm"
            )
        devtools.ensure_qemu(self.lab.screen)
        self._box = box.ensure_box(self.lab.paths, "libvirt", self.lab.screen)

    def make(self) -> None:
        wanted = machines()
        with self.lab.screen.step("boot the VMs") as step, ThreadPoolExecutor(len(wanted)) as pool:
            step.update(", ".join(machine.name for machine in wanted))
            booted = list(pool.map(lambda vm: process.follow(vm.command(self._box, FOLDER), step), wanted))
            said = [line for done in booted for line in done.lines]
            step.ok = all(done.ok for done in booted)
            step.result = "; ".join(line.partition(";")[0] for line in said)
        if not step.ok:
            raise LabError("\n".join(said))
        up.run(self.lab, check=False, show=False)

    def check(self) -> list[Suite]:
        """Also what breaks something on purpose, as the restart of every host."""
        return [verify.run(self.lab, disruptive=True, reports=self.reports, name="verify-vm")]

    def uses(self) -> Iterable[tuple[str, Action]]:
        yield "a picture is rendered", lambda: demo.run(self.lab, demo.View())
        yield "status says healthy", self._status
        yield "a drill loses nothing", lambda: drill.prove(self.lab, "kill-pool-child")
        yield "down refuses to remove hosts that others made", self._down

    def remove(self) -> None:
        lines: list[str] = []
        if process.stream([str(_RUN_BOX), "--stop", str(FOLDER)], lines.append) != 0 or FOLDER.exists():
            raise LabError("\n".join(["The VMs could not be removed:", *lines]))
        remove_state(self.lab.paths)

    def _status(self) -> None:
        said = nodes.read(self.lab)
        if not said["healthy"]:
            raise LabError(" ".join(problem["sentence"] for problem in said["problems"]))

    def _down(self) -> None:
        try:
            down.command(self.lab, everything=False)
        except UsageError:
            return
        raise LabError("down did not refuse.")
