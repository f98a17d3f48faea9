"""Results as rows of a table."""

import statistics
from collections.abc import Sequence

from labctl.drills.job_ledger import JobLedger
from labctl.drills.result import Result

_METRICS = {"publish gap": "publish", "execution gap": "execution", "host gap": "host", "rerun": "rerun"}


def row(result: Result) -> dict[str, str]:
    """Cells by their titles; gaps in seconds, median and worst of the rounds."""
    if isinstance(result.ledger, JobLedger):
        return _jobs_row(result, result.ledger)
    if result.profile != "lab":
        return _own_row(result)
    totals = result.totals
    return {
        "drill": result.name,
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


def _own_row(result: Result) -> dict[str, str]:
    own = result.as_json()
    names = ("published", "unknown", "started", "finished", "twice", "lost", "waiting")
    return {
        "drill": result.name,
        "application": result.profile,
        "rounds": str(len(result.rounds)),
        **{name: str(own[name]) for name in names},
        "publish stall": _seconds(result.values("publish")),
        "execution stall": _seconds(result.values("execution")),
        "rerun": _seconds(result.values("rerun")),
        "": "ok" if result.ok else "FAILED",
    }


def _jobs_row(result: Result, ledger: JobLedger) -> dict[str, str]:
    totals = result.totals
    return {
        "drill": result.name,
        "rounds": str(len(result.rounds)),
        "submitted": str(len(ledger.answers)),
        "accepted": str(len(ledger.jobs)),
        "refused": _refused(ledger),
        "done": str(len(ledger.jobs) - len(ledger.not_done)),
        "parts": str(totals.confirmed),
        "lost": str(len(totals.lost)),
        "repeated": str(totals.repeated),
        "duplicates": str(totals.duplicates),
        "longest job": f"{ledger.longest_job:.1f}",
        "longest answer": f"{ledger.longest_answer:.1f}",
        **{title: _seconds(result.values(metric)) for title, metric in _METRICS.items()},
        "": "ok" if result.ok else "FAILED",
    }


def _refused(ledger: JobLedger) -> str:
    """How often, and with which status."""
    by_status = ", ".join(f"{status or 'no answer'}: {count}" for status, count in ledger.refused.items())
    return f"{sum(ledger.refused.values())}" + (f" ({by_status})" if by_status else "")


def headline(result: Result) -> str:
    """One line for the screen."""
    totals, ledger = result.totals, result.ledger
    if isinstance(ledger, JobLedger):
        return (
            f"{len(ledger.jobs)} jobs accepted, {_refused(ledger)} refused, {len(ledger.not_done)} not done;"
            f" {totals.confirmed} parts, {len(totals.lost)} lost, {totals.repeated} repeated; longest job"
            f" {ledger.longest_job:.1f} s, longest answer {ledger.longest_answer:.1f} s"
        )
    if result.profile != "lab":
        return (
            f"{totals.confirmed} published, {totals.executed} finished, {len(totals.twice)} twice,"
            f" {result.lost} lost; publish stall {_seconds(result.values('publish'))} s, execution stall"
            f" {_seconds(result.values('execution'))} s"
            + (f"; {ledger.raised} raised an exception" if ledger.raised else "")
            + (
                f"; ended after round {len(result.rounds)}: {result.ended_early}"
                if result.ended_early
                else ""
            )
        )
    return (
        f"{totals.confirmed} confirmed, {totals.executed} executed, {len(totals.lost)} lost,"
        f" {totals.duplicates} duplicates, {totals.dead} dead; publish gap"
        f" {_seconds(result.values('publish'))} s, execution gap {_seconds(result.values('execution'))} s"
    )


def tables(results: Sequence[Result]) -> list[list[dict[str, str]]]:
    """The rows of each table: of single tasks, or of an own application; and of jobs."""
    kinds: list[list[dict[str, str]]] = [[], []]
    for result in results:
        kinds[isinstance(result.ledger, JobLedger)].append(row(result))
    return [rows for rows in kinds if rows]


def lacking(results: Sequence[Result]) -> list[str]:
    """A line for each setting that an own application lacks, with the line to add."""
    lines: dict[str, list[str]] = {}
    for result in results:
        for finding in result.lacking:
            lines.setdefault(f"{finding.setting} = {finding.value}; add: {finding.add}", []).append(
                result.name
            )
    return [f"lacks against {', '.join(names)}: {line}" for line, names in lines.items()]


def markdown(results: Sequence[Result]) -> str:
    """The tables for a page."""
    pages = []
    for rows in tables(results):
        lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(cells.values()) for cells in rows)]
        pages.append("".join(f"| {' | '.join(cells)} |\n" for cells in lines))
    return "\n".join(pages)


def _seconds(values: Sequence[float]) -> str:
    if not values:
        return "-"
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{statistics.median(values):.1f} / {max(values):.1f}"
