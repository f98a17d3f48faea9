"""What a drill showed."""

from dataclasses import asdict, dataclass, field
from typing import Any

from labctl.audit.rules import Finding
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

    `ended_early`: why an own application has fewer rounds than were asked for, "" when it has them all.
    `lacking`: the settings that it lacks, of those that guard against these drills. `without`: the setting
    that celery_durable left out.
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
    lacking: list[Finding] = field(default_factory=list)
    without: str = ""

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    @property
    def lost(self) -> int:
        """Tasks that were confirmed and never ended. Those that are still in the queue only wait."""
        return max(0, len(self.totals.lost) - self.ledger.left)

    def values(self, metric: str) -> list[float]:
        """The metric of each round that has it."""
        return [value for item in self.rounds if (value := item.metric(metric)) is not None]

    def _own(self) -> dict[str, Any]:
        if self.profile == "lab":
            return {}
        ledger = self.ledger
        return {
            "published": len(ledger.published),
            "unknown": self.totals.unknown,
            "started": len(ledger.attempts_of),
            "finished": self.totals.executed,
            "twice": len(self.totals.twice),
            "lost": self.lost,
            "waiting": ledger.left,
            "raised": ledger.raised,
            "lacking": [asdict(finding) for finding in self.lacking],
        }

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "profile": self.profile,
            "run": self.run,
            "ok": self.ok,
            "account": asdict(self.totals),
            **self._own(),
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
