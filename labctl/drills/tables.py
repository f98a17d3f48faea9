"""Results as rows of a table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from labctl.drills.result import Result

_METRICS = {"publish gap": "publish", "execution gap": "execution", "host gap": "host", "rerun": "rerun"}


def row(result: Result) -> dict[str, str]:
    """Cells by their titles; gaps in seconds, median and worst of the rounds."""
    totals = result.totals
    return {
        "drill": result.name,
        "by": "plain Celery" if result.profile == "stock" else "this lab",
        "rounds": str(len(result.rounds)),
        "confirmed": str(totals.confirmed),
        "executed": str(totals.executed),
        "lost": str(len(totals.lost)),
        "unknown": str(totals.unknown),
        "duplicates": str(totals.duplicates),
        "repeated": str(totals.repeated),
        "dead": str(totals.dead),
        **{title: _seconds(result.values(metric)) for title, metric in _METRICS.items()},
        "": "ok" if result.ok else "FAILED",
    }


def headline(result: Result) -> str:
    """One line for the screen."""
    totals = result.totals
    return (
        f"{totals.confirmed} confirmed, {totals.executed} executed, {len(totals.lost)} lost,"
        f" {totals.duplicates} duplicates, {totals.dead} dead; publish gap"
        f" {_seconds(result.values('publish'))} s, execution gap {_seconds(result.values('execution'))} s"
        + (f"; ended after round {len(result.rounds)}: {result.ended_early}" if result.ended_early else "")
    )


def markdown(results: Sequence[Result]) -> str:
    """The table for a page."""
    rows = [row(result) for result in results]
    if not rows:
        return ""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(cells.values()) for cells in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _seconds(values: Sequence[float]) -> str:
    if not values:
        return "-"
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{statistics.median(values):.1f} / {max(values):.1f}"
