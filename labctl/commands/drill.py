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

from labctl.audit.rules import guards, names_of_settings
from labctl.context import Context
from labctl.drills import application, catalogue, journals, runner
from labctl.drills.application import AS_IT_IS, Application, Call, Variant
from labctl.drills.catalogue import DRILLS, JOBS
from labctl.drills.definition import Drill, Series
from labctl.drills.expectations import judge, judge_application
from labctl.drills.result import Result
from labctl.drills.tables import headline, lacking, markdown, tables
from labctl.errors import LabError, UsageError
from labctl.lab.files import make_private, shown, write_private
from labctl.lab.lock import exclusive
from labctl.testing import junit

BEFORE_S = 15  # the kept journals begin so long before the drill
# A soak leaves out drills whose load differs, or with a fault of minutes.
NOT_IN_SOAK = ("long-task", "partition-majorities-ring")
DRY_S = 0.03
MOST_DRY_S = 60.0


@dataclass(frozen=True)
class Choice:
    """Arguments of the command. From `app` on: those for an application of the user."""

    names: Sequence[str]
    everything: bool = False
    rounds: int = 1
    seed: int | None = None
    soak: int | None = None
    app: str = ""
    task: str = ""
    args: str = "[]"
    kwargs: str = "{}"
    rate: float = Call.rate
    dry: str | None = None
    durable: bool = False
    without: Sequence[str] = ()
    evidence: bool = False
    junit: Path | None = None


def listing(*, as_json: bool, context: Context) -> int:
    """Print every drill: name, what it breaks, what is expected, and which settings guard against it."""
    keys = ("name", "breaks", "expects", "settings", "own")
    rows: list[dict[str, Any]] = [
        dict(zip(keys, (d.name, d.breaks, d.expectation(), guards().get(d.name, []), d.own), strict=True))
        for d in DRILLS
    ]
    rows.append(dict(zip(keys, (JOBS.name, JOBS.breaks, JOBS.expects, [], False), strict=True)))
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        titles = ("drill", "what it breaks", "expectation (median/worst)", "settings that guard against it")
        cells = [(row["name"], row["breaks"], row["expects"], ", ".join(row["settings"])) for row in rows]
        context.screen.table([dict(zip(titles, map(escape, row), strict=True)) for row in cells])
    return 0


def command(context: Context, choice: Choice) -> int:
    """Run the chosen drills one after another. Returns exit status 1 when an expectation failed.

    Of an application of the user, this is: a task was lost, or a stall was longer than the drill allows.
    """
    choice, call = _call(choice)
    chosen = _able(context, _chosen(choice), everything=choice.everything)
    own = application.find(context, call) if call else None
    seed = choice.seed if choice.seed is not None else secrets.randbelow(10_000)
    what = chosen[0].name if len(chosen) == 1 else f"{len(chosen)}-drills"
    folder = context.paths.base / "reports" / "drills" / f"{time.strftime('%Y%m%d-%H%M%S')}-{what}"
    report = _Report(context, choice, folder, seed)
    with exclusive(context.paths, "drill"):
        make_private(folder)
        for series in chosen:
            report.run(series, own)
    report.show()
    return 0 if report.ok else 1


class _Report:
    """The results so far, and their files in a folder."""

    def __init__(self, context: Context, choice: Choice, folder: Path, seed: int) -> None:
        self._context = context
        self._choice = choice
        self._folder = folder
        self._seed = seed
        self._results: list[Result] = []
        self._failed: list[str] = []
        self._cases: list[junit.Case] = []

    @property
    def ok(self) -> bool:
        good = [result.ok != bool(result.without and self._choice.evidence) for result in self._results]
        return bool(good) and not self._failed and all(good)

    def run(self, series: Series, own: Application | None) -> None:
        """Run a series, of an application in each of its variants. Raises UsageError before the first."""
        name, before = series.name, len(self._results)
        for variant in _variants(self._choice, series) if own else [AS_IT_IS]:
            profile, started = variant.key if own else "lab", time.monotonic()
            identity = f"{name}-{profile}-{time.strftime('%m%d%H%M%S')}"
            run = runner.Run(series, identity, self._seed, self._folder / name, own, variant)
            failure = ""
            try:
                result = _one(self._context, run)
                self._results.append(result)
                failure = "\n".join(f"{check.what} ({check.seen})" for check in result.checks if not check.ok)
            except LabError as error:
                if isinstance(error, UsageError) and not self._results:
                    raise
                failure = str(error)
                self._context.screen.fail(f"{name}: {error}")
                self._failed.append(f"{name}: {error}")
            seconds = time.monotonic() - started
            self._cases.append(junit.Case(f"{name} ({run.profile})", seconds, failure))
            self._keep()
        if len(self._results) > before:
            _draw(self._results[before:], self._folder / name / "timeline.png")

    def show(self) -> None:
        """Print the document of --json, or the tables and what the application lacks."""
        screen, results = self._context.screen, self._results
        if screen.json:
            print(json.dumps(self._document(), indent=2))
        elif results:
            for rows in tables(results):
                screen.say("")
                screen.table(rows, right=rows[0].keys() - {"drill", "application"})
            for line in lacking(results):
                screen.say(escape(line))
            screen.say(f"seed {self._seed}; table, pictures and ledgers in {shown(self._folder)}")

    def _document(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "seed": self._seed,
            "failed": self._failed,
            "drills": [result.as_json() for result in self._results],
        }

    def _keep(self) -> None:
        text = markdown(self._results) + "".join(f"{line}\n" for line in lacking(self._results))
        write_private(self._folder / "report.json", json.dumps(self._document(), indent=2) + "\n")
        write_private(self._folder / "report.md", text)
        if self._choice.junit:
            junit.write(self._choice.junit, f"drills of {self._choice.app or 'the lab'}", self._cases)


def prove(context: Context, name: str) -> None:
    """Run one drill as a case of a test; raises LabError when an expectation failed."""
    if command(context, Choice((name,), seed=1)):
        raise LabError(f"The drill {name} did not end as expected.")


def _call(choice: Choice) -> tuple[Choice, Call | None]:
    """What to publish in the user's application, None without one. Raises UsageError."""
    if not choice.app:
        given = choice.task or choice.durable or choice.without or choice.evidence or choice.dry is not None
        if given:
            raise UsageError(
                "--task, --dry, --durable, --without and --evidence need --app, the application."
            )
        return choice, None
    if not choice.task:
        raise UsageError("--app needs --task, the name of a task, for example --task shop.tasks.resize.")
    if choice.soak:
        raise UsageError("--soak is for the lab's own load; leave out --app, or give the names of drills.")
    if choice.durable and choice.evidence:
        raise UsageError("--evidence has a run with all settings already; leave out --durable.")
    unknown = sorted(set(choice.without) - set(names_of_settings()))
    if unknown:
        raise UsageError(f"celery_durable has no setting {unknown[0]}: see ./lab drill --list.")
    names, dry = choice.names, None
    if choice.dry is not None:
        try:
            dry = float(choice.dry)
        except ValueError:  # `--dry NAME`: the word after --dry is the first drill
            names, dry = (choice.dry, *names), DRY_S
        if not 0 <= dry <= MOST_DRY_S:
            raise UsageError(f"--dry takes 0 to {MOST_DRY_S:g} seconds, not {choice.dry}.")
    args = _json(choice.args, "--args", list, "[1, 2]")
    kwargs = _json(choice.kwargs, "--kwargs", dict, '{"size": 3}')
    return replace(choice, names=names), Call(choice.app, choice.task, args, kwargs, dry, choice.rate)


def _json(text: str, option: str, kind: type, example: str) -> Any:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, kind):
        raise UsageError(f"{option} {text!r} is no JSON of this form; give for example {option} '{example}'.")
    return found


def _variants(choice: Choice, series: Series) -> list[Variant]:
    without = choice.without
    if choice.evidence:
        without = [*without, *(name for drill in series.drills for name in guards().get(drill.name, []))]
    durable = [Variant(durable=True)] if choice.durable or without else []
    first = [] if choice.evidence else [AS_IT_IS]
    return [*first, *durable, *(Variant(durable=True, without=name) for name in dict.fromkeys(without))]


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
    if choice.app:
        chosen = _own(choice, chosen)
    return [replace(series, drills=(*series.drills,) * choice.rounds) for series in chosen]


def _own(choice: Choice, chosen: list[Series]) -> list[Series]:
    """Those for an application of the user; UsageError for another that is given by name."""
    own = [series for series in chosen if not series.jobs and all(drill.own for drill in series.drills)]
    others = [series.name for series in chosen if series not in own]
    if others and not choice.everything:
        raise UsageError(
            f"{', '.join(others)} needs tasks of mosaic: leave it out, or leave out --app {choice.app}."
        )
    shown = [series for series in own if guards().get(series.name) or not choice.evidence]
    if not shown:
        raise UsageError(f"No setting of celery_durable guards against {own[0].name}; leave out --evidence.")
    return shown


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
    title = f"drill {run.series.name}"
    if run.application:
        title += f" of {run.application.name}, {run.variant}"
    since, logged = time.time() - BEFORE_S, run.folder / f"journals-{run.key}"
    with context.screen.step(title) as step:
        try:
            result = runner.execute(context, run, step)
        except UsageError:
            raise
        except LabError:
            journals.keep(context, logged, since)
            raise
        distinct = list(dict.fromkeys(run.series.drills))
        of = judge_application if run.application else judge
        result.checks = of(result, distinct, context.substrate.patience())
        step.ok, step.result = result.ok, headline(result)
    if not result.ok:
        for check in result.checks:
            if not check.ok:
                context.screen.fail(f"    failed: {check.what} ({check.seen})")
        journals.keep(context, logged, since)
    return result


def _draw(results: Sequence[Result], target: Path) -> None:
    from labctl.drills import plot  # takes a second to load

    plot.draw(results, target)
