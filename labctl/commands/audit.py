"""audit: finds the settings of a Celery application that lose or stall tasks. Needs no lab."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.markup import escape

from labctl.audit import application, environment
from labctl.audit.rules import Finding, findings
from labctl.errors import UsageError
from labctl.lab.lock import exclusive
from labctl.paths import LabPaths
from labctl.screen import Screen

_SHOWN = 3  # names of tasks or queues


def command(
    paths: LabPaths, screen: Screen, folder: Path, *, app: str, python: Path | None, timeout: float
) -> int:
    """Audit the application in a folder. Returns exit status 1 if there are findings. Raises UsageError."""
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}: give the folder of a Celery application.")
    if python and not python.is_file():
        raise UsageError(
            f"There is no interpreter {python}: give an environment's Python, such as .venv/bin/python."
        )
    folder = folder.resolve()
    if python:
        interpreter = python.absolute()
    else:
        with exclusive(LabPaths("cache", paths.root), "audit", wait=True):
            interpreter = environment.interpreter(folder, paths.cache, screen)
    with screen.step("import the application") as step:
        read = application.read(folder, interpreter, app, timeout)
        step.result = f"{read['name']}, Celery {read['celery']}"
    found = findings(read)
    if screen.json:
        rows = [{**asdict(finding), "shown": bool(finding.drills)} for finding in found]
        print(json.dumps({"application": read, "findings": rows}, indent=2))
    else:
        _show(screen, read, found)
    return 1 if found else 0


def _show(screen: Screen, read: dict[str, Any], found: list[Finding]) -> None:
    names = {"tasks": "tasks", "queues": "queues", "beat": "periodic tasks"}
    counts = ", ".join(f"{len(read[key])} {name}" for key, name in names.items())
    screen.say(f"{read['name']}: {counts}, {len(found)} findings")
    if found:
        screen.say("")
        screen.table([_row(finding) for finding in found])
        screen.say(
            "\nAdd these lines, or call make_durable(app) of celery_durable, which sets all settings:\n"
        )
        for line in dict.fromkeys(finding.add for finding in found):
            screen.say(f"    {line}")
        screen.say("")
    screen.say(
        "An audit reads settings only. It does not find problems in the broker's policies, in how workers are"
        " stopped, or in the code of tasks: see docs/how-to/audit-your-application.md."
    )


def _row(finding: Finding) -> dict[str, str]:
    where = ", ".join(finding.where[:_SHOWN])
    more = len(finding.where) - _SHOWN
    concerned = f" ({where}{f' and {more} more' if more > 0 else ''})" if where else ""
    colour = "red" if finding.risk == "lost" else "yellow"
    return {
        "setting": escape(f"{finding.setting} = {finding.value}"),
        "tasks": f"[{colour}]{finding.risk}[/]",
        "what can happen": escape(finding.what + concerned),
        "shown by drill": escape(", ".join(finding.drills)) or "[dim]not shown[/]",
    }
