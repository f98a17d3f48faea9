"""The report of ./lab bench: the document of --json, and a page for docs/measurements."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labctl.bench.figures import Figure, SuiteResult

MEMORY = Path("/proc/meminfo")
PICTURE = "bench.png"
PURPOSE = (
    "For a developer who wants to know what a task costs. After this page you know the rates and the CPU time"
    " of one lab, and how to repeat them."
)
NOTES = {
    "CPU": (
        "milliseconds of CPU time per task, of all processes on all nodes of a kind, without those of the"
        " idle lab. On a machine that others use too, it varies less than a rate"
    ),
    "noise guard": "one arm is measured twice. Differences smaller than between these two mean nothing",
}


@dataclass(frozen=True)
class Series:
    """What was measured, how, and where. `hosts`: the number of hosts of each group."""

    command: str
    repeats: int
    hosts: Mapping[str, int]
    suites: Sequence[SuiteResult]

    def document(self) -> dict[str, Any]:
        """For --json."""
        return {
            "date": time.strftime("%Y-%m-%d"),
            "command": self.command,
            "repeats": self.repeats,
            "hosts": dict(self.hosts),
            "cores": os.cpu_count(),
            "memory_gb": memory_gb(),
            "suites": [suite.document() for suite in self.suites],
        }

    def page(self) -> str:
        """Markdown."""
        hosts = ", ".join(f"{count} {group}" for group, count in self.hosts.items() if count)
        facts = {
            "repeat": f"`{self.command}`",
            "machine of `./lab`": f"{os.cpu_count()} cores, {memory_gb()} GB",
            "hosts": hosts,
            "runs": f"{self.repeats} of each arm, interleaved; each figure is a median, with the range",
            **NOTES,
        }
        lines = [
            f"# Bench, {time.strftime('%Y-%m-%d')}",
            "",
            PURPOSE,
            "",
            "| | |",
            "| --- | --- |",
            *(f"| {name} | {text} |" for name, text in facts.items()),
            "",
            f"![Rates and CPU time per task of each arm]({PICTURE})",
        ]
        for suite in self.suites:
            lines += ["", f"## {suite.name}", "", f"{suite.about[0].upper()}{suite.about[1:]}.", ""]
            lines += _markdown(rows(suite))
            if suite.arms[0].sent_kb:
                lines += ["", "Sent to other hosts:", "", *_markdown(sent(suite))]
            lines += ["", f"{suite.guard()} {_conditions(suite)}"]
        return "\n".join(lines) + "\n"


def memory_gb() -> int:
    """Memory of this machine."""
    return round(int(MEMORY.read_text(encoding="utf-8").split()[1]) / 2**20)


def rows(suite: SuiteResult) -> list[dict[str, str]]:
    """A table: one row for each arm, with its values, a comparison, and CPU per task."""
    values = list(dict.fromkeys(name for arm in suite.arms for name in arm.values))
    kinds = list(dict.fromkeys(kind for arm in suite.arms for kind in arm.cpu_ms))
    table = []
    for arm in suite.arms:
        row = {"arm": arm.name}
        row |= {name: _cell(arm.values.get(name)) for name in values}
        ratio = suite.compared(arm)
        row["compared"] = "" if ratio is None else f"{ratio:.2f} of {arm.base}"
        row |= {f"CPU ms, {kind}": _cell(arm.cpu_ms.get(kind)) for kind in kinds}
        table.append(row)
    return table


def sent(suite: SuiteResult) -> list[dict[str, str]]:
    """A table of the kB that each kind of node sends per task."""
    return [
        {"arm": arm.name} | {f"kB, {kind}": _cell(runs) for kind, runs in arm.sent_kb.items()}
        for arm in suite.arms
    ]


def _conditions(suite: SuiteResult) -> str:
    idle = ", ".join(f"{kind} {use.cpu:.0%}" for kind, use in suite.idle.items())
    return (
        f"CPU of the idle lab, of one core: {idle}. Load average of the machine before the first run:"
        f" {suite.load_average:.1f}. Duration: {suite.seconds:.0f} s."
    )


def _cell(runs: Sequence[float] | None) -> str:
    if not runs:
        return ""
    figure = Figure(runs)
    return f"{number(figure.median)} ({number(min(runs))} to {number(max(runs))})"


def number(value: float) -> str:
    """Three digits that matter, without an exponent: 1234, 56.7, 0.123."""
    size = abs(value)
    text = f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"
    return "0.00" if text == "-0.00" else text


def _markdown(table: Sequence[Mapping[str, str]]) -> list[str]:
    titles = list(table[0])
    lines = [titles, ["---"] * len(titles), *(list(row.values()) for row in table)]
    return [f"| {' | '.join(cells)} |" for cells in lines]
