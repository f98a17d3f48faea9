"""A lab made to be tested: made, made again without a change, checked, used, removed."""

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path

from labctl.commands import up
from labctl.context import Context
from labctl.errors import LabError
from labctl.paths import DOCKER_INVENTORY
from labctl.testing import junit
from labctl.testing.checks import Suite
from labctl.testing.junit import Case

Action = Callable[[], object]


class Cycle(ABC):
    """One run on one kind of hosts. Each step is a case of the report; one that raises LabError failed."""

    name: str  # of the report

    def __init__(self, lab: Context, reports: Path) -> None:
        self.lab = lab
        self.reports = reports
        self._cases: list[Case] = []

    @abstractmethod
    def prepare(self) -> None:
        """See that what the lab needs is there, and nothing of an earlier run."""

    @abstractmethod
    def make(self) -> None:
        """Make the lab."""

    @abstractmethod
    def check(self) -> list[Suite]:
        """Run the suites that need the lab."""

    def uses(self) -> Iterable[tuple[str, Action]]:
        """Further steps, with what each shows."""
        return ()

    @abstractmethod
    def remove(self) -> None:
        """Remove the lab; raises LabError when something of it is left."""

    def run(self, *, keep: bool) -> list[Path]:
        """Reports of all that ran; the lab is removed at the end, also after a failure, unless kept."""
        written = [self.reports / f"{self.name}.xml"]
        prepared = False
        try:
            prepared = self._case("what it needs is there", self.prepare)
            if prepared and self._case("the lab is made", self.make):
                self._case("a second up changes nothing", self._up_again)
                self._case("its checks run", lambda: written.extend(suite.report for suite in self.check()))
                for shown, action in self.uses():
                    self._case(shown, action)
        finally:
            if prepared and keep:
                self._say_how_to_reach()
            elif prepared:
                self._case("the lab is removed", self.remove)
            junit.write(written[0], self.name, self._cases)
        return written

    def _case(self, name: str, action: Action) -> bool:
        started = time.monotonic()
        failure = ""
        try:
            action()
        except LabError as error:
            failure = str(error)
            self.lab.screen.fail(f"FAILED {self.name}: {name}\n{failure}")
        self._cases.append(Case(name, time.monotonic() - started, failure))
        return not failure

    def _up_again(self) -> None:
        summary = up.run(self.lab, check=False, show=False)
        if summary.total_changed:
            raise LabError(f"The second up changed {summary.total_changed} things: {summary.changed}.")

    def _say_how_to_reach(self) -> None:
        inventory = self.lab.substrate.inventory
        option = "" if inventory == DOCKER_INVENTORY else f" --inventory {os.path.relpath(inventory)}"
        name = self.lab.paths.name
        self.lab.screen.say(f"Lab {name} is left running: LAB_NAME={name} ./lab{option} status")
