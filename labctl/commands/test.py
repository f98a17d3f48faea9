"""test: every check of the project, and at the end their sum on one line."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from labctl import context
from labctl.ansible import playbooks
from labctl.commands import down, up, verify
from labctl.errors import LabError
from labctl.machine import engine
from labctl.paths import ROOT, LabPaths, lab_paths
from labctl.programs import side_by_side
from labctl.screen import Screen
from labctl.substrates import cleanup
from labctl.substrates.containers import DockerSubstrate
from labctl.testing import checks, devtools, junit, linters, molecule, pythons, trial, vagrant
from labctl.testing.cases import Cases

TEST_LAB = "warren-test"
USUAL = ("lint", "unit", "roles", "lab", "vagrant")  # without a choice


def command(phases: Sequence[str], *, keep: bool, roles: Sequence[str] = ()) -> int:
    """Run the phases ("lint", "unit", "roles", "lab", "vagrant", "vm"); exit status 1 when anything failed.

    Without phases: those of USUAL, with the Molecule scenarios of `molecule.USUAL`. Else `roles` names the
    scenarios; none means all.
    """
    scenarios = molecule.chosen(roles if phases else molecule.USUAL)
    phases = phases or USUAL
    os.environ["LAB_NAME"] = TEST_LAB
    screen = Screen()
    reports = lab_paths().base / "reports"
    started = time.monotonic()
    devtools.ensure_packages(screen)
    written = side_by_side.run(_without_lab(phases, scenarios, reports, screen))
    if "lab" in phases:
        written += _Cycle(reports, screen, keep=keep).run()
    if "vagrant" in phases:
        written += vagrant.Cycle(reports, screen).run(keep=keep)
    if "vm" in phases:
        written += trial.Cycle(reports, screen).run(keep=keep)
    sums = junit.totals(written)
    screen.say(f"\nReports in {reports.relative_to(ROOT)}, {time.monotonic() - started:.0f} s")
    screen.say(str(sums))
    return 1 if sums.failed or not sums.passed else 0


def _without_lab(
    phases: Sequence[str], scenarios: Sequence[str], reports: Path, screen: Screen
) -> list[Callable[[], Path]]:
    """What leaves this lab alone, and can be done side by side; each returns its report."""
    work: list[Callable[[], Path]] = []
    if "roles" in phases:
        molecule.prepare(screen)
        at_once = None if list(phases) == ["roles"] else 1
        work.append(partial(molecule.run, scenarios, reports, screen, at_once=at_once))
    if "lint" in phases:
        work.append(partial(_lint, reports, screen))
    if "unit" in phases:
        work += _suites(reports, screen)
    return work


def _lint(reports: Path, screen: Screen) -> Path:
    file = reports / "lint.xml"
    junit.write(file, "lint", linters.run(LabPaths(TEST_LAB), screen))
    return file


def _suites(reports: Path, screen: Screen) -> list[Callable[[], Path]]:
    """The suites that need no nodes, the longest first."""
    devtools.ensure_postgresql(screen)
    devtools.ensure_promtool(screen)
    source = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'app' / 'src'}"}
    environment = playbooks.environment(LabPaths(TEST_LAB), mitogen=False, extra=source)
    own = pythons.own()
    other = pythons.other(lab_paths().cache, screen)

    def suite(name: str, arguments: list[str], python: pythons.Python) -> Path:
        with screen.step(f"tests of {arguments[0]}, {python}") as step:
            done = checks.run(name, arguments, reports, step, environment=environment, python=python.program)
        _show(done, screen)
        return done.report

    suites = [partial(suite, "unit", ["tests/unit"], own)]
    if other:
        suites.append(partial(suite, f"unit-3.{other.minor}", ["tests/unit"], other))
    return [*suites, partial(suite, "app", ["app/tests", "--rootdir=app", "-c", "app/pyproject.toml"], own)]


class _Cycle:
    """A lab of its own: made, made again without a change, verified, used end to end, removed."""

    def __init__(self, reports: Path, screen: Screen, *, keep: bool) -> None:
        self._reports = reports
        self._screen = screen
        self._keep = keep
        self._context = context.make()
        self._cases = Cases(screen)

    def run(self) -> list[Path]:
        """Reports of all that ran; the lab is removed at the end, also after a failure, unless kept."""
        cycle = self._reports / "cycle.xml"
        written = [cycle]
        try:
            case = self._cases.run
            if case("a lab left over is removed", self._remove) and case("up makes the lab", self._up):
                case("a second up changes nothing", self._up_again)
                written += self._suites()
        finally:
            if self._keep:
                self._screen.say(f"Lab {TEST_LAB} is left running: LAB_NAME={TEST_LAB} ./lab status")
            else:
                self._cases.run("down leaves nothing behind", self._down)
            junit.write(cycle, "cycle", self._cases.done)
        return written

    def _up(self) -> None:
        up.run(self._context, check=False)

    def _up_again(self) -> None:
        summary = up.run(self._context, check=False, show=False)
        if summary.total_changed:
            raise LabError(f"The second up changed {summary.total_changed} things: {summary.changed}.")

    def _suites(self) -> list[Path]:
        suites = [verify.run(self._context, disruptive=True, reports=self._reports)]
        if any((ROOT / "tests" / "lab").glob("test_*.py")):
            devtools.ensure_browser(self._screen)
            arguments = ["tests/lab", f"--ansible-inventory={self._context.substrate.inventory}"]
            with self._screen.step("tests of tests/lab") as step:
                suite = checks.run(
                    "lab", arguments, self._reports, step, environment=verify.environment(self._context)
                )
            _show(suite, self._screen)
            suites.append(suite)
        return [suite.report for suite in suites]

    def _remove(self) -> None:
        engine.ensure(self._context.paths, self._screen)  # an engine that was off may hold one
        down.command(self._context, everything=False)

    def _down(self) -> None:
        down.command(self._context, everything=False)
        substrate = self._context.substrate
        if isinstance(substrate, DockerSubstrate):
            left = cleanup.count(self._context.paths, substrate.client)
            if left != cleanup.Removed():
                raise LabError(f"down left {left} behind.")
        if self._context.paths.state.exists():
            raise LabError(f"down left {self._context.paths.state} behind.")


def _show(suite: checks.Suite, screen: Screen) -> None:
    for line in suite.failure_lines():
        screen.fail(line)
