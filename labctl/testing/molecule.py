"""Runs the scenarios of molecule/, two at a time, with a log and a case of the report each."""

import os
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import SimpleQueue

from rich.table import Table

from labctl.ansible import failures, playbooks
from labctl.errors import UsageError
from labctl.images import bake
from labctl.lab.files import make_private
from labctl.lab.lock import exclusive
from labctl.machine import checks, engine
from labctl.paths import ROOT, LabPaths
from labctl.programs import process, side_by_side
from labctl.screen import Screen
from labctl.testing import junit
from labctl.testing.junit import Case
from labctl.topology import declaration

# Short ones that show what a whole lab cannot; every run of the tests has them.
USUAL = ("broker_proxy", "pki", "postgresql")
# They start first: what is left for the end should be short.
_LONGEST = ("default", "debian12", "rabbitmq")
# They show other things than how packages come to a host, and like ./lab up begin with the groups' images.
_INSTALLED = ("celery_worker", "rabbitmq", "strict")


@dataclass(frozen=True)
class Place:
    """Where a scenario runs: the name of its lab, and the first three parts of its network."""

    lab: str
    network: str


# The first is that of the base config and of molecule/topologies/.
PLACES = (Place("warren-molecule", "10.219.7"), Place("warren-molecule-2", "10.219.8"))
_PLACE_MB = 6000  # of memory, so that the largest scenario fits
_OF_THE_SHELL = ("MOLECULE_", "LAB_TOPOLOGY", "ANSIBLE_SKIP_TAGS", "ANSIBLE_RUN_TAGS")
_SHOWN_STEPS = 4
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_STEP = re.compile(r"\[?\w+ [>➜] (?P<step>[\w-]+)(?:\]|:) Executing")
_TASK = re.compile(r"^(?:TASK|PLAY|RUNNING HANDLER) \[(?P<task>[^\]]*)\]")


@dataclass
class Run:
    """What one scenario said, and how long each of its steps took (seconds by name, repeats added up)."""

    lines: list[str] = field(default_factory=list)
    steps: dict[str, float] = field(default_factory=dict)
    _step: str = ""
    _since: float = 0.0

    def line(self, text: str, now: float) -> str:
        """Take in one line, said at `now` (seconds); returns what it is about, or ""."""
        self.lines.append(text)
        step = _STEP.search(text)
        if step:
            self.end(now)
            self._step, self._since = step["step"], now
            return self._step
        task = _TASK.match(text)
        return f"{self._step} · {task['task']}" if task else ""

    def end(self, now: float) -> None:
        """End the running step."""
        if self._step:
            self.steps[self._step] = self.steps.get(self._step, 0.0) + now - self._since
        self._step = ""

    def longest(self) -> str:
        """Its longest steps, as `converge 63 s, create 12 s`."""
        ranked = sorted(self.steps.items(), key=lambda item: -item[1])[:_SHOWN_STEPS]
        return ", ".join(f"{name} {seconds:.0f} s" for name, seconds in ranked)


def scenarios() -> list[str]:
    """Names of all scenarios, `default` and the other long ones first."""
    found = sorted(file.parent.name for file in (ROOT / "molecule").glob("*/molecule.yml"))
    return sorted(found, key=lambda name: _LONGEST.index(name) if name in _LONGEST else len(_LONGEST))


def chosen(names: Sequence[str]) -> list[str]:
    """The named scenarios; raises UsageError for a name that is none, with those that there are."""
    known = scenarios()
    for name in names:
        if name not in known:
            role = (ROOT / "roles" / name).is_dir()
            why = (
                "has no scenario of its own, since it needs the others; `--role default` tries it"
                if role
                else "is no scenario"
            )
            raise UsageError(f"{name} {why}; there are {', '.join(known)}.")
    return list(dict.fromkeys(names)) or known


def prepare(screen: Screen) -> None:
    """Make the groups' images, so that a scenario's nodes need not be installed again and again."""
    paths = LabPaths(PLACES[0].lab)
    declared = declaration.load()
    client = engine.ensure(paths, screen)
    bake.ensure(paths, declared, declared.kinds, client, screen)


def run(names: Sequence[str], reports: Path, screen: Screen, *, at_once: int | None = None) -> Path:
    """`molecule test` for each scenario, with all that it said in `<reports>/molecule-<name>.log`.

    Returns their report.
    """
    make_private(reports)
    places = PLACES[: at_once or _fitting()]
    free: SimpleQueue[Place] = SimpleQueue()
    for place in places:
        free.put(place)
    started = time.monotonic()
    work = [partial(_in_a_place, name, reports, screen, free) for name in names]
    outcomes = side_by_side.run(work, at_once=len(places))
    table = Table("scenario", "result", "seconds", "longest steps", box=None, pad_edge=False)
    for case, steps in outcomes:
        table.add_row(case.name, "FAILED" if case.failure else "passed", f"{case.seconds:.0f}", steps)
    table.add_row("all", "", f"{time.monotonic() - started:.0f}", f"{len(places)} at a time")
    screen.console.print(table)
    junit.write(reports / "molecule.xml", "molecule", [case for case, _ in outcomes])
    return reports / "molecule.xml"


def _fitting() -> int:
    """How many scenarios this machine can run at the same time: one for each core, if memory allows."""
    available = checks.available_memory_mb()
    fitting = len(PLACES) if available is None else available // _PLACE_MB
    return max(1, min(fitting, os.cpu_count() or 1, len(PLACES)))


def _in_a_place(name: str, reports: Path, screen: Screen, free: SimpleQueue[Place]) -> tuple[Case, str]:
    """The scenario's case, and its longest steps."""
    place = free.get()
    try:
        with exclusive(LabPaths(place.lab), "test"):
            return _run(name, reports, screen, place)
    finally:
        free.put(place)


def _run(name: str, reports: Path, screen: Screen, place: Place) -> tuple[Case, str]:
    file = reports / f"molecule-{name}.log"
    said = Run()
    started = time.monotonic()
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as log, screen.step(f"scenario {name}") as step:

        def subject(line: str) -> str:
            text, now = _COLOURS.sub("", line), time.monotonic()
            log.write(f"[{now - started:6.1f}] {text}\n" if text else "\n")
            return said.line(text, now)

        done = process.follow(command(name), step, subject=subject, environment=environment(name, place))
        said.end(time.monotonic())
        step.ok = done.ok
        step.result = "" if step.ok else f"FAILED, log: {file.relative_to(ROOT)}"
    failure = "" if done.ok else failures.ending(said.lines) or f"exit status {done.status}"
    if failure:
        screen.fail(failure)
    return Case(name, time.monotonic() - started, failure), said.longest()


def command(name: str) -> list[str]:
    """Command line of one scenario; it names the base config, which Molecule finds only beside .git."""
    program = str(Path(sys.executable).with_name("molecule"))
    return [program, "--base-config", str(ROOT / ".config" / "molecule" / "config.yml"), "test", "-s", name]


def environment(name: str, place: Place) -> dict[str, str]:
    """Environment of a scenario in a place, with the accelerator of ./lab and no settings of this shell."""
    result = playbooks.environment(LabPaths(place.lab))
    kept = {key: value for key, value in result.items() if not key.startswith(_OF_THE_SHELL)}
    skipped = {"ANSIBLE_SKIP_TAGS": "install"} if name in _INSTALLED else {}
    return kept | skipped | {"LAB_MOLECULE": place.lab, "LAB_NETWORK": place.network}
