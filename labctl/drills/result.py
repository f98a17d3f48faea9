"""What a drill showed."""

from dataclasses import asdict, dataclass, field
from typing import Any

from labctl.drills.job_ledger import JobLedger
from labctl.drills.ledger import Ledger, Totals
from labctl.drills.metrics import Metrics, Window


@dataclass(frozen=True)
class Round:
    """One fault: drill, what was hit, window, when it was healed and the lab healthy again; times since 1970.

    `recovered` is None when the lab was not healthy in time, and `problems` says why. `dead`: units that are
    expected to be dead letters.
    """

    drill: str
    what: str
    window: Window
    healed: float
    recovered: float | None
    metrics: Metrics
    dead: tuple[int, ...] = ()
    problems: tuple[str, ...] = ()

    def metric(self, name: str) -> float | None:
        """Seconds of publish, execution, host, rerun or wait."""
        value = getattr(self.metrics, name)
        return value if value is None or isinstance(value, float) else float(value.seconds)


@dataclass(frozen=True)
class Check:
    """One expectation, whether it held, and what was seen."""

    what: str
    ok: bool
    seen: str


@dataclass
class Result:
    """A run of a drill, or of several in a soak.

    `ended_early`: why plain Celery has fewer rounds than were asked for, "" when it has them all.
    """

    name: str
    profile: str
    run: str
    rounds: list[Round]
    totals: Totals
    ledger: Ledger = field(repr=False)
    load: Window
    drained: float | None
    ended_early: str = ""
    checks: list[Check] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    def values(self, metric: str) -> list[float]:
        """The metric of each round that has it."""
        return [value for item in self.rounds if (value := item.metric(metric)) is not None]

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "profile": self.profile,
            "run": self.run,
            "ok": self.ok,
            "account": asdict(self.totals),
            **({"jobs": self.ledger.summary()} if isinstance(self.ledger, JobLedger) else {}),
            "drained_s": None if self.drained is None else round(self.drained, 2),
            "load": asdict(self.load),
            "ended_early": self.ended_early,
            "rounds": [
                {
                    "drill": item.drill,
                    "what": item.what,
                    "injected": item.window.begin,
                    "healed": item.healed,
                    "recovered_s": None
                    if item.recovered is None
                    else round(item.recovered - item.window.begin, 2),
                    "problems": list(item.problems),
                    **item.metrics.as_json(),
                }
                for item in self.rounds
            ],
            "checks": [asdict(check) for check in self.checks],
        }
