"""A lab of containers beside the user's, used end to end."""

import shutil
from pathlib import Path

from labctl.commands import down, verify
from labctl.context import Context
from labctl.errors import LabError
from labctl.images import bake
from labctl.lab.files import make_private
from labctl.machine import engine
from labctl.paths import ROOT, LabPaths
from labctl.programs import process
from labctl.screen import Screen
from labctl.substrates import cleanup
from labctl.substrates.containers import DockerSubstrate
from labctl.testing import checks, devtools, hostile
from labctl.testing.cycle import Cycle
from labctl.topology import declaration

LAB = "warren-test"
APPLICATIONS = ROOT / "tests" / "lab" / "applications.yml"


class ContainerCycle(Cycle):
    """./lab up, all checks and the tests of tests/lab, ./lab down."""

    name = "cycle"

    def __init__(self, reports: Path, screen: Screen) -> None:
        paths = LabPaths(LAB)
        self.substrate = DockerSubstrate(paths)
        super().__init__(Context(paths, self.substrate, screen), reports)

    def prepare(self) -> None:
        client = engine.ensure(self.lab.paths, self.lab.screen)  # an engine that was off may hold a lab
        down.command(self.lab, everything=False)
        declared = declaration.load()  # the images first: they are not built behind the proxy of make()
        bake.ensure(self.lab.paths, declared, declared.kinds, client, self.lab.screen)

    def make(self) -> None:
        paths = self.lab.paths
        for folder in (paths.base, paths.state):
            make_private(folder)
        # Before the first up, so that the second one shows that applications change nothing.
        shutil.copy(APPLICATIONS, paths.state)
        hostile.write(self.lab.paths.secrets, hostile.declared())
        self._hostile_up()
        hostile.set_proxy(self.substrate.containers().values())

    def _hostile_up(self) -> None:
        """./lab up as a user with a hostile environment runs it."""
        words = hostile.command([str(ROOT / "lab"), "up", "--no-verify"])
        with self.lab.screen.step("./lab up in a hostile environment") as step:
            done = process.follow(words, step, environment=hostile.environment())
            step.ok = done.ok
        if not done.ok:
            raise LabError(f"./lab up ended with {done.status}:\n{done.ending(20)}")

    def check(self) -> list[checks.Suite]:
        nodes = verify.run(self.lab, disruptive=True, reports=self.reports)
        hostile.unset_proxy(self.substrate.containers().values())
        devtools.ensure_browser(self.lab.screen)
        arguments = ["tests/lab", f"--ansible-inventory={self.lab.substrate.inventory}"]
        with self.lab.screen.step("tests of tests/lab") as step:
            whole = checks.run("lab", arguments, self.reports, step, environment=verify.environment(self.lab))
        for line in whole.failure_lines():
            self.lab.screen.fail(line)
        return [nodes, whole]

    def remove(self) -> None:
        down.command(self.lab, everything=False)
        left = cleanup.count(self.lab.paths, engine.require())
        if left != cleanup.Removed():
            raise LabError(f"down left {left} behind.")
        if self.lab.paths.state.exists():
            raise LabError(f"down left {self.lab.paths.state} behind.")
