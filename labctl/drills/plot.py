"""A plot of a drill: publish and execution rate over time, the faults, the gaps, one row per host."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from labctl.drills.job_ledger import JobLedger
from labctl.drills.ledger import LOST
from labctl.drills.result import Result
from labctl.drills.tables import headline

BIN_S = 0.5
JOBS_BIN_S = 4.0
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # for colour-blind readers too
LINES = ("#333333", "#009e73", "#cc79a7")
FAULT, GAP = "#999999", "#b00020"


def draw(results: Sequence[Result], file: Path) -> None:
    """Save a PNG with one column for each result of the same drill."""
    figure = Figure(figsize=(min(11 * len(results), 20), 6.4), dpi=110, layout="constrained")
    heights = {"height_ratios": [3, 2]}
    grid = figure.subplots(2, len(results), sharex="col", squeeze=False, gridspec_kw=heights)
    for column, result in enumerate(results):
        _rates(grid[0][column], result)
        _hosts(grid[1][column], result)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file)


def _rates(axes: Axes, result: Result) -> None:
    begin, end = result.load.begin, result.load.end
    is_jobs = isinstance(result.ledger, JobLedger)
    width = JOBS_BIN_S if is_jobs else BIN_S
    for (label, times), colour in zip(_events(result).items(), LINES, strict=False):
        axes.hist(
            [time - begin for time in times],
            bins=[index * width for index in range(int((end - begin) / width) + 2)],
            weights=[1 / width] * len(times),
            histtype="step",
            label=label,
            color=colour,
            linewidth=1.2,
        )
    _shade(axes, result)
    top = max(axes.get_ylim()[1], 1.0) * 1.25
    axes.set_ylim(0, top)
    for item in result.rounds:
        for height, gap, name in (
            (0.93, item.metrics.publish, "no confirm"),
            (0.84, item.metrics.host, f"none started on {item.metrics.host.who}"),
        ):
            if gap.seconds > width:
                y = top * height
                axes.hlines(y, gap.begin - begin, gap.end - begin, colors=GAP, linewidth=2.5)
                label = f"{name} {gap.seconds:.1f} s" if len(result.rounds) <= 2 else f"{gap.seconds:.1f}"
                axes.annotate(
                    label, (gap.end - begin, y), (4, -3), textcoords="offset points", fontsize=8, color=GAP
                )
    axes.set_title(_title(result), fontsize=10, loc="left")
    axes.set_ylabel("jobs/s" if is_jobs else "tasks/s")
    axes.legend(loc="lower left", fontsize=8, ncols=2)
    axes.grid(alpha=0.25)


def _events(result: Result) -> dict[str, list[float]]:
    """Times of each kind of event."""
    ledger = result.ledger
    if isinstance(ledger, JobLedger):
        return {
            "submitted": [answer.at for answer in ledger.answers],
            "accepted": [answer.at + answer.seconds for answer in ledger.answers if answer.accepted],
            "done": [job.ended for job in ledger.jobs if job.ended is not None],
        }
    return {
        "confirmed": [unit.confirmed or 0.0 for unit in ledger.confirms],
        "started": [attempt.started for attempt in ledger.attempts],
    }


def _title(result: Result) -> str:
    totals = result.totals
    verdict = "as expected" if result.ok else "NOT AS EXPECTED"
    if isinstance(result.ledger, JobLedger):
        return f"{result.name}: {headline(result)} - {verdict}".replace("; ", "\n", 1)
    return (
        f"{result.name}, {'this lab' if result.profile == 'lab' else result.profile}:"
        f" {totals.confirmed} confirmed,"
        f" {totals.executed} executed, {result.lost} lost, {totals.repeated} repeated,"
        f" {totals.dead} dead letters - {verdict}"
    )


def _hosts(axes: Axes, result: Result) -> None:
    begin = result.load.begin
    hosts = sorted({attempt.host for attempt in result.ledger.attempts})
    for row, host in enumerate(hosts):
        own = [attempt for attempt in result.ledger.attempts if attempt.host == host]
        colour = COLOURS[row % len(COLOURS)]
        first = [a.started - begin for a in own if a.number == 1 and a.outcome == "done"]
        axes.vlines(first, row - 0.3, row + 0.3, colors=colour, linewidth=0.6)
        _marks(axes, (a.started - begin for a in own if a.number > 1), row, "^", "#000000")
        _marks(axes, (a.started - begin for a in own if a.outcome in (None, LOST)), row, "x", GAP)
    _shade(axes, result)
    axes.set_yticks(range(len(hosts)), hosts)
    axes.set_ylim(len(hosts) - 0.4, -0.6)
    axes.set_xlim(0, max(result.load.end - begin, 1.0))
    axes.set_xlabel(
        "seconds of load; tick: a start, triangle: a repeated start, cross: a start without an end"
    )


def _marks(axes: Axes, times: Iterable[float], row: int, marker: str, colour: str) -> None:
    found = list(times)
    axes.plot(found, [row] * len(found), linestyle="none", marker=marker, markersize=5, color=colour)


def _shade(axes: Axes, result: Result) -> None:
    for item in result.rounds:
        begin = item.window.begin - result.load.begin
        healed = max(item.healed - result.load.begin, begin + 0.15)
        axes.axvspan(begin, healed, color=FAULT, alpha=0.3, linewidth=0)
