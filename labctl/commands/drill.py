"""drill: breaks the lab on purpose, and shows by a ledger what became of every task."""

from __future__ import annotations

import json
import random
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from labctl.context import Context
from labctl.drills import catalogue, journals, runner
from labctl.drills.catalogue import DRILLS
from labctl.drills.definition import Drill
from labctl.drills.expectations import judge, judge_control
from labctl.drills.result import Result
from labctl.drills.tables import headline, markdown, row
from labctl.errors import LabError, UsageError
from labctl.lab.files import make_private, write_private
from labctl.lab.lock import exclusive
from labctl.paths import ROOT

BEFORE_S = 15  # of the journals that are kept, before the drill
# What a soak leaves out: its load differs, or one fault takes minutes.
NOT_IN_SOAK = ("long-task", "partition-majorities-ring")


@dataclass(frozen=True)
class Choice:
    """What the user asked for."""

    names: Sequence[str]
    everything: bool = False
    rounds: int = 1
    seed: int | None = None
    profile: str = "lab"
    soak: int = 0


def listing(*, as_json: bool, context: Context) -> int:
    """Print every drill: name, what it breaks, what is expected."""
    if as_json:
        rows = [
            {"name": d.name, "breaks": d.breaks, "expects": d.expectation(), "control": d.control}
            for d in DRILLS
        ]
        print(json.dumps(rows, indent=2))
        return 0
    table = Table(box=None, pad_edge=False)
    for title in ("drill", "what it breaks", "expectation (median/worst)"):
        table.add_column(title, overflow="fold")
    for drill in DRILLS:
        table.add_row(drill.name, drill.breaks, drill.expectation())
    context.screen.console.print(table)
    return 0


def command(context: Context, choice: Choice) -> int:
    """Run what was chosen, one after another; exit status 1 when an expectation does not hold."""
    jobs = _able(context, _jobs(choice), everything=choice.everything)
    seed = choice.seed if choice.seed is not None else secrets.randbelow(10_000)
    profiles = ("lab", "stock") if choice.profile == "stock" else ("lab",)
    what = jobs[0][0] if len(jobs) == 1 else f"{len(jobs)}-drills"
    folder = context.paths.base / "reports" / "drills" / f"{time.strftime('%Y%m%d-%H%M%S')}-{what}"
    results: list[Result] = []
    failed: list[str] = []
    document: dict[str, Any] = {"ok": False}
    with exclusive(context.paths, "drill"):
        make_private(folder)
        for name, sequence in jobs:
            before = len(results)
            try:
                for profile in profiles:
                    identity = f"{name}-{profile}-{time.strftime('%m%d%H%M%S')}"
                    run = runner.Run(name, identity, profile, seed, sequence, folder / name)
                    results.append(_one(context, run))
                    document = _keep(folder, results, seed, failed)
            except LabError as error:
                if isinstance(error, UsageError) and not results:
                    raise
                context.screen.fail(f"{name}: {error}")
                failed.append(f"{name}: {error}")
                document = _keep(folder, results, seed, failed)
            _draw(results[before:], folder / name / "timeline.png")
    _show(context, folder, results, document)
    return 0 if document["ok"] else 1


def prove(context: Context, name: str) -> None:
    """Run one drill as a case of a test; raises LabError when an expectation does not hold."""
    if command(context, Choice((name,), seed=1)):
        raise LabError(f"The drill {name} did not end as expected.")


def _jobs(choice: Choice) -> list[tuple[str, list[Drill]]]:
    """Each name with the drills that run under one load."""
    if choice.soak:
        if choice.names or choice.everything:
            raise UsageError("--soak picks its faults itself; leave out NAME and --all.")
        if choice.seed is None:
            raise UsageError("--soak needs a --seed, so that it can be repeated.")
        return [(f"soak-{choice.soak}", soak(choice.soak, choice.seed))]
    if not choice.names and not choice.everything:
        raise UsageError("Name a drill, or give --all or --soak; ./lab drill --list shows the drills.")
    chosen = DRILLS if choice.everything else [catalogue.find(name) for name in dict.fromkeys(choice.names)]
    return [(drill.name, [drill] * choice.rounds) for drill in chosen]


def _able(
    context: Context, jobs: list[tuple[str, list[Drill]]], *, everything: bool
) -> list[tuple[str, list[Drill]]]:
    """The jobs that this lab is large enough for; UsageError when one was asked for by name and is not."""
    groups = context.substrate.groups()
    able = []
    for name, sequence in jobs:
        lacking = next((f"{d.name} needs {lacks}" for d in sequence if (lacks := d.lacks(groups))), "")
        if lacking and not everything:
            raise UsageError(f"{lacking}; raise the count in the topology or the inventory.")
        if lacking:
            context.screen.say(f"left out: {lacking}")
        else:
            able.append((name, sequence))
    return able


def soak(faults: int, seed: int) -> list[Drill]:
    """Drills at random, the same for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    able = [drill for drill in DRILLS if drill.name not in NOT_IN_SOAK]
    return [chance.choice(able) for _ in range(faults)]


def _one(context: Context, run: runner.Run) -> Result:
    title = f"drill {run.name}" + (" with plain Celery" if run.profile == "stock" else "")
    since, logged = time.time() - BEFORE_S, run.folder / f"journals-{run.profile}"
    with context.screen.step(title) as step:
        try:
            result = runner.execute(context, run, step)
        except UsageError:
            raise
        except LabError:
            journals.keep(context, logged, since)
            raise
        distinct = list(dict.fromkeys(run.sequence))
        result.checks = (
            judge_control(result, distinct[0])
            if run.profile == "stock"
            else judge(result, distinct, context.substrate.patience())
        )
        step.ok, step.result = result.ok, headline(result)
    if not result.ok:
        for check in result.checks:
            if not check.ok:
                context.screen.fail(f"    not so: {check.what} ({check.seen})")
        journals.keep(context, logged, since)
    return result


def _draw(results: Sequence[Result], target: Path) -> None:
    from labctl.drills import plot  # takes a second to load

    if results:
        plot.draw(results, target)


def _keep(folder: Path, results: Sequence[Result], seed: int, failed: Sequence[str]) -> dict[str, Any]:
    """Write what is known so far; returns the document of `--json`."""
    document = {
        "ok": bool(results) and not failed and all(result.ok for result in results),
        "seed": seed,
        "failed": list(failed),
        "drills": [result.as_json() for result in results],
    }
    write_private(folder / "report.json", json.dumps(document, indent=2) + "\n")
    write_private(folder / "report.md", markdown(results))
    return document


def _show(context: Context, folder: Path, results: Sequence[Result], document: dict[str, Any]) -> None:
    if context.screen.json:
        print(json.dumps(document, indent=2))
        return
    if not results:
        return
    table = Table(box=None, pad_edge=False)
    rows = [row(result) for result in results]
    for title in rows[0]:
        table.add_column(title, justify="left" if title in ("drill", "by") else "right")
    for cells in rows:
        table.add_row(*cells.values())
    context.screen.say("")
    context.screen.console.print(table, soft_wrap=False)
    context.screen.say(f"seed {document['seed']}; table, pictures and ledgers in {folder.relative_to(ROOT)}")
