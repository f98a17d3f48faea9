"""bench: measures rates, latency and CPU time per task of a running lab."""

import json
import time
from contextlib import nullcontext
from pathlib import Path

from labctl import console_api
from labctl.bench import arms, suites
from labctl.bench.figures import SuiteResult
from labctl.bench.report import PICTURE, Series, rows
from labctl.bench.suite import USER, Bench
from labctl.bench.usage import Meter, meter
from labctl.context import Context, states
from labctl.errors import UsageError
from labctl.lab.files import make_private, shown, write_private
from labctl.lab.lock import exclusive
from labctl.programs.vhost import vhost

REPEATS, QUICK_REPEATS = 5, 2
IDLE_S, QUICK_IDLE_S = 5.0, 2.0


def command(context: Context, names: tuple[str, ...], *, quick: bool, repeats: int | None) -> int:
    """Measure the suites, and write the report to a folder of .lab/reports/bench."""
    wanted = suites.chosen(names)
    _require(context, wanted)
    repeats = repeats or (QUICK_REPEATS if quick else REPEATS)
    needs_vhost = any(suites.SUITES[name].vhost for name in wanted)
    substrate = context.substrate
    with (
        exclusive(context.paths, "bench"),
        vhost(substrate, USER) if needs_vhost else nullcontext("") as password,
        meter(substrate) as usage,
    ):
        bench = Bench(context, password, quick)
        results = [_one(bench, name, usage, repeats) for name in wanted]
    given = [*wanted] if names else []
    words = ["./lab", "bench", *given, *(["--quick"] if quick else []), f"--repeats {repeats}"]
    hosts = {group: len(found) for group, found in substrate.groups().items()}
    _show(context, Series(" ".join(words), repeats, hosts, results))
    return 0


def _require(context: Context, wanted: list[str]) -> None:
    """Raise UsageError unless the lab runs, and has what the suites need."""
    stopped = [name for name, state in states(context).items() if state != "running"]
    if stopped:
        raise UsageError(
            f"{', '.join(stopped)} must run before the lab is measured; ./lab up starts the lab."
        )
    groups = context.substrate.groups()
    for name in wanted:
        for group in suites.SUITES[name].needs:
            if not groups[group]:
                raise UsageError(
                    f"The suite {name} needs a host in {group}, and the lab has none; add one to the topology"
                    " or the inventory, or measure other suites."
                )
    if any(not suites.SUITES[name].vhost for name in wanted):
        console_api.published(context.substrate.url())


def _one(bench: Bench, name: str, usage: Meter, repeats: int) -> SuiteResult:
    idle_s = QUICK_IDLE_S if bench.quick else IDLE_S
    with bench.context.screen.step(f"measure {name}") as step:
        step.update("start the programs")
        with suites.SUITES[name].open(bench) as suite:
            result = arms.measure(name, suite, usage, step, repeats=repeats, idle_s=idle_s)
        step.result = str(result.guard())
    return result


def _show(context: Context, series: Series) -> None:
    """Write the report, and print the tables or the document."""
    folder = context.paths.base / "reports" / "bench" / time.strftime("%Y%m%d-%H%M%S")
    make_private(folder)
    document = json.dumps(series.document(), indent=2)
    write_private(folder / "report.json", document + "\n")
    write_private(folder / "report.md", series.page())
    _draw(series, folder / PICTURE)
    screen = context.screen
    if screen.json:
        print(document)
        return
    for result in series.suites:
        found = rows(result)
        screen.say(f"\n{result.name}: {result.about}")
        screen.table(found, right=found[0].keys() - {"arm", "compared"})
        screen.say(str(result.guard()))
    screen.say(f"\npage and picture in {shown(folder)}")


def _draw(series: Series, file: Path) -> None:
    from labctl.bench import plot  # takes a second to load

    plot.draw(series.suites, file)
