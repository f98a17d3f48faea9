"""drill: breaks the lab on purpose, and shows in a ledger what happened to every task."""

import json
import random
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.markup import escape

from labctl.context import Context
from labctl.drills import catalogue, journals, runner
from labctl.drills.catalogue import DRILLS, JOBS
from labctl.drills.definition import Drill, Series
from labctl.drills.expectations import judge, judge_control
from labctl.drills.result import Result
from labctl.drills.tables import headline, markdown, tables
from labctl.errors import LabError, UsageError
from labctl.lab.files import make_private, shown, write_private
from labctl.lab.lock import exclusive

BEFORE_S = 15  # the kept journals begin so long before the drill
# A soak leaves out drills whose load differs, or with a fault of minutes.
NOT_IN_SOAK = ("long-task", "partition-majorities-ring")


@dataclass(frozen=True)
class Choice:
    """Arguments of the command."""

    names: Sequence[str]
    everything: bool = False
    rounds: int = 1
    seed: int | None = None
    profile: str = "lab"
    soak: int | None = None


def listing(*, as_json: bool, context: Context) -> int:
    """Print every drill: name, what it breaks, what is expected."""
    rows = [(d.name, d.breaks, d.expectation(), d.control) for d in DRILLS]
    rows.append((JOBS.name, JOBS.breaks, JOBS.expects, False))
    if as_json:
        keys = ("name", "breaks", "expects", "control")
        print(json.dumps([dict(zip(keys, row, strict=True)) for row in rows], indent=2))
    else:
        titles = ("drill", "what it breaks", "expectation (median/worst)")
        context.screen.table([dict(zip(titles, map(escape, row[:3]), strict=True)) for row in rows])
    return 0


def command(context: Context, choice: Choice) -> int:
    """Run the chosen drills one after another; exit status 1 when an expectation failed."""
    chosen = _able(context, _chosen(choice), everything=choice.everything)
    seed = choice.seed if choice.seed is not None else secrets.randbelow(10_000)
    what = chosen[0].name if len(chosen) == 1 else f"{len(chosen)}-drills"
    folder = context.paths.base / "reports" / "drills" / f"{time.strftime('%Y%m%d-%H%M%S')}-{what}"
    results: list[Result] = []
    failed: list[str] = []
    document: dict[str, Any] = {"ok": False}
    with exclusive(context.paths, "drill"):
        make_private(folder)
        for series in chosen:
            name, before = series.name, len(results)
            profiles = ("lab", "stock") if choice.profile == "stock" and not series.jobs else ("lab",)
            try:
                for profile in profiles:
                    identity = f"{name}-{profile}-{time.strftime('%m%d%H%M%S')}"
                    run = runner.Run(series, identity, profile, seed, folder / name)
                    results.append(_one(context, run))
                    document = _keep(folder, results, seed, failed)
            except LabError as error:
                if isinstance(error, UsageError) and not results:
                    raise
                context.screen.fail(f"{name}: {error}")
                failed.append(f"{name}: {error}")
                document = _keep(folder, results, seed, failed)
            _draw(results[before:], folder / name / "timeline.png")
    if context.screen.json:
        print(json.dumps(document, indent=2))
    elif results:
        for rows in tables(results):
            context.screen.say("")
            context.screen.table(rows, right=rows[0].keys() - {"drill", "by"})
        context.screen.say(f"seed {seed}; table, pictures and ledgers in {shown(folder)}")
    return 0 if document["ok"] else 1


def prove(context: Context, name: str) -> None:
    """Run one drill as a case of a test; raises LabError when an expectation failed."""
    if command(context, Choice((name,), seed=1)):
        raise LabError(f"The drill {name} did not end as expected.")


def _chosen(choice: Choice) -> list[Series]:
    """The chosen series: drills under one load each."""
    if choice.soak:
        if choice.names or choice.everything:
            raise UsageError("--soak picks its faults itself; leave out NAME and --all.")
        if choice.seed is None:
            raise UsageError("--soak needs a --seed, so that it can be repeated.")
        return [Series(f"soak-{choice.soak}", tuple(soak(choice.soak, choice.seed)))]
    if not choice.names and not choice.everything:
        raise UsageError("Name a drill, or give --all or --soak; ./lab drill --list shows the drills.")
    names = [*(d.name for d in DRILLS), JOBS.name] if choice.everything else dict.fromkeys(choice.names)
    chosen = [JOBS if name == JOBS.name else Series(name, (catalogue.find(name),)) for name in names]
    if choice.profile == "stock" and all(series.jobs for series in chosen):
        raise UsageError("Plain Celery has no API to submit jobs to; leave out --profile stock.")
    return [replace(series, drills=(*series.drills,) * choice.rounds) for series in chosen]


def _able(context: Context, chosen: list[Series], *, everything: bool) -> list[Series]:
    """Those that this lab is large enough for; UsageError when it is too small for one given by name."""
    groups = context.substrate.groups()
    able = []
    for series in chosen:
        lacking = next((f"{d.name} needs {lacks}" for d in series.drills if (lacks := d.lacks(groups))), "")
        if lacking and not everything:
            raise UsageError(f"{lacking}; raise the count in the topology or the inventory.")
        if lacking:
            context.screen.say(f"left out: {lacking}")
        else:
            able.append(series)
    return able


def soak(faults: int, seed: int) -> list[Drill]:
    """Drills at random, the same for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    able = [drill for drill in DRILLS if drill.name not in NOT_IN_SOAK]
    return [chance.choice(able) for _ in range(faults)]


def _one(context: Context, run: runner.Run) -> Result:
    title = f"drill {run.series.name}" + (" with plain Celery" if run.profile == "stock" else "")
    since, logged = time.time() - BEFORE_S, run.folder / f"journals-{run.profile}"
    with context.screen.step(title) as step:
        try:
            result = runner.execute(context, run, step)
        except UsageError:
            raise
        except LabError:
            journals.keep(context, logged, since)
            raise
        distinct = list(dict.fromkeys(run.series.drills))
        result.checks = (
            judge_control(result, distinct[0])
            if run.profile == "stock"
            else judge(result, distinct, context.substrate.patience())
        )
        step.ok, step.result = result.ok, headline(result)
    if not result.ok:
        for check in result.checks:
            if not check.ok:
                context.screen.fail(f"    failed: {check.what} ({check.seen})")
        journals.keep(context, logged, since)
    return result


def _draw(results: Sequence[Result], target: Path) -> None:
    from labctl.drills import plot  # takes a second to load

    if results:
        plot.draw(results, target)


def _keep(folder: Path, results: Sequence[Result], seed: int, failed: Sequence[str]) -> dict[str, Any]:
    """Write the results so far; returns the document of `--json`."""
    document = {
        "ok": bool(results) and not failed and all(result.ok for result in results),
        "seed": seed,
        "failed": list(failed),
        "drills": [result.as_json() for result in results],
    }
    write_private(folder / "report.json", json.dumps(document, indent=2) + "\n")
    write_private(folder / "report.md", markdown(results))
    return document
