"""What was measured: the runs of each arm, their medians and ranges, and the noise guard."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from labctl.bench.usage import Use

AGAIN = ", again"  # after the name of an arm that is measured twice, as a noise guard


@dataclass(frozen=True)
class Figure:
    """Values of one kind, one for each run."""

    runs: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.runs)

    def document(self) -> dict[str, Any]:
        """For --json."""
        return {"median": self.median, "low": min(self.runs), "high": max(self.runs), "runs": list(self.runs)}


@dataclass(frozen=True)
class Run:
    """One run of an arm: its values by name, and how many tasks it had (0: nothing is per task)."""

    values: Mapping[str, float]
    tasks: int = 0


@dataclass
class ArmResult:
    """The runs of one arm: values by name; by kind of node, CPU milliseconds and kB sent per task."""

    name: str
    values: dict[str, list[float]] = field(default_factory=dict)
    cpu_ms: dict[str, list[float]] = field(default_factory=dict)
    sent_kb: dict[str, list[float]] = field(default_factory=dict)

    def add(self, run: Run, used: Mapping[str, Use]) -> None:
        """Add a run. `used`: by kind of node."""
        for name, value in run.values.items():
            self.values.setdefault(name, []).append(value)
        for kind, use in used.items() if run.tasks else ():
            self.cpu_ms.setdefault(kind, []).append(1000 * use.cpu / run.tasks)
            self.sent_kb.setdefault(kind, []).append(use.sent / 1000 / run.tasks)

    def document(self) -> dict[str, Any]:
        """For --json."""
        return {
            "name": self.name,
            "values": _documents(self.values),
            "cpu_ms_per_task": _documents(self.cpu_ms),
            "kb_sent_per_task": _documents(self.sent_kb),
        }


def _documents(figures: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    return {name: Figure(runs).document() for name, runs in figures.items()}


@dataclass
class SuiteResult:
    """The arms of a suite. `idle`: use a second before the first run, by kind of node."""

    name: str
    about: str
    idle: Mapping[str, Use]
    load_average: float
    arms: list[ArmResult]
    seconds: float = 0.0

    def ratio(self, arm: ArmResult, other: str) -> float | None:
        """The median of the arm's first value as a multiple of that of another arm; None without one."""
        found = next((found for found in self.arms if found.name == other and found.values), None)
        if found is None or not arm.values:
            return None
        name = next(iter(arm.values))
        below = Figure(found.values[name]).median
        return Figure(arm.values[name]).median / below if below else None

    def guard(self) -> tuple[str, float]:
        """The arm that was measured twice, and the ratio of its two figures: 1 without noise."""
        again = next(arm for arm in self.arms if arm.name.endswith(AGAIN))
        first = again.name.removesuffix(AGAIN)
        return first, self.ratio(again, first) or 0.0

    def document(self) -> dict[str, Any]:
        """For --json."""
        first, ratio = self.guard()
        return {
            "name": self.name,
            "about": self.about,
            "seconds": round(self.seconds, 1),
            "load_average": round(self.load_average, 2),
            "idle_cores": {kind: use.cpu for kind, use in self.idle.items()},
            "arms": [arm.document() for arm in self.arms],
            "noise_guard": {"arm": first, "ratio": ratio},
        }
