"""test: the checks of the project, and at the end their sum on one line."""

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from labctl.ansible import playbooks
from labctl.paths import ROOT, LabPaths, lab_paths
from labctl.programs import side_by_side
from labctl.screen import Screen
from labctl.testing import checks, devtools, junit, linters, molecule, pythons
from labctl.testing.containers import LAB, ContainerCycle
from labctl.testing.cycle import Cycle
from labctl.testing.rotation import SecretsCycle
from labctl.testing.upgrade import UpgradeCycle
from labctl.testing.vagrant import VagrantCycle
from labctl.testing.vms import VmCycle

CYCLES: dict[str, Callable[[Path, Screen], Cycle]] = {
    "lab": ContainerCycle,
    "upgrade": UpgradeCycle,
    "secrets": SecretsCycle,
    "vagrant": VagrantCycle,
    "vm": VmCycle,
}
USUAL = ("lint", "unit", "roles", "lab", "vagrant")  # without a choice
# What the other Python does not repeat. CI runs it with every version.
NOT_REPEATED = (
    # They need Celery or other packages for development, which only the project's own environment has.
    "app_command",
    "app_declaration",
    "console_texts",
    "drill_application",
    "examples",
    "lab_celery",
    "log_shipper",
    "secrets",
    "topology_schema",
    # What they try runs in another Python than that of ./lab: the user's environment, and the nodes'.
    "audit",
    "releases",
)


def command(phases: Sequence[str], *, keep: bool, roles: Sequence[str] = ()) -> int:
    """Run the phases (names of `USUAL`, "upgrade", "secrets" and "vm"); exit status 1 when anything failed.

    Without phases: those of USUAL, with the Molecule scenarios of `molecule.USUAL`. Else `roles` names the
    scenarios; none means all.
    """
    scenarios = molecule.chosen(roles if phases else molecule.USUAL)
    phases = phases or USUAL
    os.environ["LAB_NAME"] = LAB
    screen = Screen()
    reports = lab_paths().base / "reports"
    started = time.monotonic()
    devtools.ensure_packages(screen)
    written = side_by_side.run(_without_lab(phases, scenarios, reports, screen))
    for phase, cycle in CYCLES.items():
        if phase in phases:
            written += cycle(reports, screen).run(keep=keep)
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
    junit.write(file, "lint", linters.run(LabPaths(LAB), screen))
    return file


def _suites(reports: Path, screen: Screen) -> list[Callable[[], Path]]:
    """The suites that need no nodes, the longest first."""
    devtools.ensure_postgresql(screen)
    devtools.ensure_promtool(screen)
    sources = [ROOT, ROOT / "celery_durable" / "src", ROOT / "app" / "src"]
    cache = lab_paths().cache
    oldest_celery = devtools.ensure_oldest_celery(cache, screen)
    own = pythons.own()
    other = pythons.other(cache, screen)

    def suite(name: str, arguments: list[str], python: pythons.Python, first: Sequence[Path] = ()) -> Path:
        path = {"PYTHONPATH": os.pathsep.join(map(str, (*first, *sources)))}
        environment = playbooks.environment(LabPaths(LAB), mitogen=False, extra=path)
        with screen.step(f"{name}: tests of {arguments[0]}, {python}") as step:
            done = checks.run(name, arguments, reports, step, environment=environment, python=python.program)
        for line in done.failure_lines():
            screen.fail(line)
        return done.report

    library = ["celery_durable/tests", "--rootdir=celery_durable", "-c", "celery_durable/pyproject.toml"]
    suites = [partial(suite, "unit", ["tests/unit"], own)]
    if other:
        arguments = ["tests/unit", *(f"--ignore=tests/unit/test_{name}.py" for name in NOT_REPEATED)]
        suites.append(partial(suite, f"unit-3.{other.minor}", arguments, other))
    return [
        *suites,
        partial(suite, "app", ["app/tests", "--rootdir=app", "-c", "app/pyproject.toml"], own),
        partial(suite, "library", library, own),
        partial(suite, "library-oldest-celery", library, own, [oldest_celery]),
    ]
