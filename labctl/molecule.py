"""Runs the scenarios of molecule/, one after another, with a log and a case of the report each."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from labctl import ansible, images, process, topology
from labctl.errors import UsageError
from labctl.host import engine
from labctl.junit import Case
from labctl.lock import exclusive
from labctl.paths import ROOT, LabPaths
from labctl.screen import Screen, Step
from labctl.state import make_private

LAB = "warren-molecule"  # as in .config/molecule/config.yml
_KEPT_LINES = 40
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_EVENT = re.compile(r"(?P<scenario>\w+) ➜ (?P<action>[\w-]+): Executing|^(?:TASK|PLAY) \[(?P<task>[^\]]*)\]")


def scenarios() -> list[str]:
    """Names of all scenarios, sorted, `default` first."""
    found = sorted(file.parent.name for file in (ROOT / "molecule").glob("*/molecule.yml"))
    return sorted(found, key=lambda name: name != "default")


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


def run(names: Sequence[str], reports: Path, screen: Screen) -> list[Case]:
    """`molecule test` for each scenario; `<reports>/molecule-<name>.log` has all that it said.

    The groups' images are made first, so that a scenario's nodes need not be installed again and again.
    """
    paths = LabPaths(LAB)
    declared = topology.load()
    client = engine.ensure(paths, screen)
    images.ensure(paths, declared, [node.group for node in declared.nodes], client, screen)
    with exclusive(paths, "test"):
        return [_run(name, reports, screen) for name in names]


def _run(name: str, reports: Path, screen: Screen) -> Case:
    make_private(reports)
    file = reports / f"molecule-{name}.log"
    lines: list[str] = []
    started = time.monotonic()
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as log, screen.step(f"scenario {name}") as step:

        def on_line(line: str) -> None:
            text = _COLOURS.sub("", line)
            lines.append(text)
            log.write(f"{text}\n")
            _show(text, step)

        status = process.stream(command(name), on_line, environment=environment())
        step.ok = status == 0
        step.result = "" if step.ok else f"FAILED, log: {file.relative_to(ROOT)}"
    failure = "" if status == 0 else "\n".join(_end(lines)) or f"exit status {status}"
    if failure:
        screen.fail(failure)
    return Case(name, time.monotonic() - started, failure)


def command(name: str) -> list[str]:
    """Command line of one scenario; it names the base config, which Molecule finds only beside .git."""
    program = str(Path(sys.executable).with_name("molecule"))
    return [program, "--base-config", str(ROOT / ".config" / "molecule" / "config.yml"), "test", "-s", name]


def environment() -> dict[str, str]:
    """Environment of Molecule: plain Ansible, no settings of this shell for single scenarios."""
    result = ansible.environment(LabPaths(LAB), mitogen=False)
    return {key: value for key, value in result.items() if not key.startswith(("MOLECULE_", "LAB_TOPOLOGY"))}


def _show(text: str, step: Step) -> None:
    found = _EVENT.search(text)
    if found:
        step.update(found["task"] or found["action"])


def _end(lines: list[str]) -> list[str]:
    """The last lines that say something, from the first failed task among them on."""
    said = [line for line in lines if line.strip()][-_KEPT_LINES:]
    for index, line in enumerate(said):
        if line.startswith(("fatal:", "failed:", "[ERROR]", "FAILED", "E ")):
            return said[index:]
    return said
