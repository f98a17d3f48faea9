"""The picture of ./lab bench: one row for each suite, its values and its CPU time per task."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from labctl.bench.figures import ArmResult, Figure, SuiteResult
from labctl.drills.plot import COLOURS

BAR, RUN = "#9ecae1", "#333333"


def draw(suites: Sequence[SuiteResult], file: Path) -> None:
    """Save a PNG."""
    heights = [len(suite.arms) + 2 for suite in suites]
    figure = Picture(figsize=(15, sum(heights) * 0.36 + 0.5), dpi=110, layout="constrained")
    grid = figure.subplots(len(suites), 2, squeeze=False, gridspec_kw={"height_ratios": heights})
    for (left, right), suite in zip(grid, suites, strict=True):
        names = list(suite.arms[0].values)
        _values(left, suite, names[0])
        if len(names) > 1:
            _values(right, suite, names[1])
        else:
            _cpu(right, suite)
        right.tick_params(labelleft=False)
    figure.savefig(file)


def _values(axes: Axes, suite: SuiteResult, name: str) -> None:
    """Bars of the medians, and a mark for each run."""
    _rows(axes, suite.arms)
    for row, arm in enumerate(suite.arms):
        runs = arm.values.get(name) or [0.0]
        axes.barh(row, Figure(runs).median, color=BAR)
        axes.plot(runs, [row] * len(runs), "|", color=RUN, markersize=9)
    axes.set_xlim(left=0)
    axes.set_title(f"{suite.name}: {name}", fontsize=10, loc="left")


def _cpu(axes: Axes, suite: SuiteResult) -> None:
    """Bars of the medians of all kinds of node, one after another."""
    _rows(axes, suite.arms)
    kinds = list(dict.fromkeys(kind for arm in suite.arms for kind in arm.cpu_ms))
    left = [0.0] * len(suite.arms)
    for kind, colour in zip(kinds, COLOURS, strict=False):
        widths = [max(0.0, Figure(arm.cpu_ms.get(kind) or [0.0]).median) for arm in suite.arms]
        axes.barh(range(len(suite.arms)), widths, left=left, color=colour, label=kind)
        left = [before + width for before, width in zip(left, widths, strict=True)]
    axes.set_title("milliseconds of CPU time per task", fontsize=10, loc="left")
    axes.legend(fontsize=8)


def _rows(axes: Axes, arms: Sequence[ArmResult]) -> None:
    axes.set_yticks(range(len(arms)), [arm.name for arm in arms], fontsize=9)
    axes.set_ylim(len(arms) - 0.4, -0.6)
    axes.grid(axis="x", alpha=0.25)
