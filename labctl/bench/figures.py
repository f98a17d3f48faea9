"""What was measured: the runs of each arm, their medians and ranges, and the noise guard."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
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
    base: str = ""
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

    def cpu_of_all(self) -> list[float]:
        """CPU milliseconds per task of all nodes together, for each run."""
        return [sum(run) for run in zip(*self.cpu_ms.values(), strict=True)]

    def document(self) -> dict[str, Any]:
        """For --json."""
        return {
            "name": self.name,
            "compared_with": self.base,
            "values": _documents(self.values),
            "cpu_ms_per_task": _documents(self.cpu_ms),
            "kb_sent_per_task": _documents(self.sent_kb),
        }


def _documents(figures: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    return {name: Figure(runs).document() for name, runs in figures.items()}


def _ratio(runs: Sequence[float], others: Sequence[float]) -> float:
    """The median of the ratios of the rounds, so that a change between rounds has no effect."""
    ratios = [run / other for run, other in zip(runs, others, strict=True) if other]
    return statistics.median(ratios) if ratios else 0.0


@dataclass(frozen=True)
class Guard:
    """An arm that was measured twice: the ratios of its second figures to its first, 1 without noise.

    `cpu`: of the CPU time of all nodes; None where it was not measured.
    """

    arm: str
    value: str
    ratio: float
    cpu: float | None

    def __str__(self) -> str:
        cpu = "" if self.cpu is None else f", and {self.cpu:.2f} times the CPU time per task"
        return f"Noise guard: {self.arm!r} measured again has {self.ratio:.2f} times the {self.value}{cpu}."


@dataclass
class SuiteResult:
    """The arms of a suite. `idle`: use a second before the first run, by kind of node."""

    name: str
    about: str
    idle: Mapping[str, Use]
    load_average: float
    arms: list[ArmResult]
    seconds: float = 0.0

    def compared(self, arm: ArmResult) -> float | None:
        """The first value as a multiple of that of the base: the median over the rounds; None without one."""
        base = next((found for found in self.arms if found.name == arm.base), None)
        if base is None:
            return None
        name = next(iter(arm.values))
        return _ratio(arm.values[name], base.values[name])

    def guard(self) -> Guard:
        """How the arm that was measured twice compares with itself."""
        again = next(arm for arm in self.arms if arm.name.endswith(AGAIN))
        first = next(arm for arm in self.arms if arm.name == again.base)
        cpu = _ratio(again.cpu_of_all(), first.cpu_of_all()) if first.cpu_ms else None
        return Guard(first.name, next(iter(first.values)), self.compared(again) or 0.0, cpu)

    def document(self) -> dict[str, Any]:
        """For --json."""
        return {
            "name": self.name,
            "about": self.about,
            "seconds": round(self.seconds, 1),
            "load_average": round(self.load_average, 2),
            "idle_cores": {kind: use.cpu for kind, use in self.idle.items()},
            "arms": [arm.document() for arm in self.arms],
            "noise_guard": asdict(self.guard()),
        }
