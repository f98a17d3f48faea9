"""Whether a drill showed what was expected."""

import statistics
from collections.abc import Sequence
from dataclasses import replace

from labctl.drills.definition import Drill, Limit
from labctl.drills.job_ledger import JobLedger
from labctl.drills.ledger import DeadLetter
from labctl.drills.result import Check, Result

MEDIAN_OF = 3  # rounds from which on a median says something
ANSWER_S = 10.0  # of a submission: a broker that does not confirm is given up after 3.5 s
JOB_S = 150.0  # with an unavailable database, and two sweeps for what was lost with it


def judge(result: Result, drills: Sequence[Drill], patience: float = 1.0) -> list[Check]:
    """Hold a result of the lab's own settings against the expectations of its drills.

    `patience`: how many times longer than usual a slow lab may take.
    """
    totals = result.totals
    due = {unit for item in result.rounds for unit in item.dead}
    letters = {letter.unit for letter in result.ledger.dead}
    checks = [
        Check("no confirmed task is lost", not totals.lost, _units(totals.lost)),
        Check("nothing is executed that was not attempted", not totals.unexpected, _units(totals.unexpected)),
        Check("every effect is had once", not totals.twice, _units(totals.twice)),
        Check("all queues drain", result.drained is not None, _seconds(result.drained)),
        Check(
            "the lab recovers by itself",
            all(item.recovered is not None for item in result.rounds),
            ", ".join(
                _seconds(item.recovered and item.recovered - item.healed)
                + "".join(f" ({p})" for p in item.problems)
                for item in result.rounds
            ),
        ),
        Check("no other task is a dead letter", letters <= due, _units(sorted(letters - due))),
    ]
    if due:
        checks.append(_dead_letters(due, result.ledger.dead, drills))
    if isinstance(result.ledger, JobLedger):
        checks += _jobs(result.ledger, patience)
    for drill in drills:
        checks += _limits(result, drill, patience)
    return checks


def judge_application(result: Result, drills: Sequence[Drill], patience: float = 1.0) -> list[Check]:
    """Hold a result of an own application against what a user expects: nothing lost, and no long stall."""
    waiting = result.ledger.left
    checks = [
        Check("no task is lost", not result.lost, f"{result.lost} of {result.totals.confirmed}"),
        Check("all queues drain", not waiting and result.drained is not None, f"{waiting} tasks wait"),
        *([Check("every round ends", False, result.ended_early)] if result.ended_early else []),
    ]
    for drill in drills:
        limits = {name: limit for name, limit in drill.limits.items() if name in ("publish", "execution")}
        checks += _limits(result, replace(drill, limits=limits, at_least={}), patience)
    return checks


def _jobs(ledger: JobLedger, patience: float) -> list[Check]:
    kinds = {job.kind for job in ledger.jobs}
    found: dict[str, Sequence[object]] = {
        "every accepted job ends done": ledger.not_done,
        "every job has the parts that it was accepted with": ledger.miscounted,
        "every picture, size and sheet is there": ledger.incomplete,
        "every refusal is a 429 or 503 with a sentence": ledger.bad_answers,
    }
    longest = {
        f"every answer comes within {ANSWER_S * patience:g} s": (ledger.longest_answer, ANSWER_S),
        f"every job ends within {JOB_S * patience:g} s": (ledger.longest_job, JOB_S),
    }
    return [
        Check("renders and scales are accepted", {"render", "scale"} <= kinds, f"{len(ledger.jobs)} jobs"),
        *(Check(what, not bad, _some(bad)) for what, bad in found.items()),
        *(Check(what, seen <= most * patience, _seconds(seen)) for what, (seen, most) in longest.items()),
    ]


def _dead_letters(due: set[int], dead: Sequence[DeadLetter], drills: Sequence[Drill]) -> Check:
    reasons = {drill.dead for drill in drills if drill.dead}
    found = {letter.unit: letter.reason for letter in dead if letter.unit in due}
    right = found.keys() == due and set(found.values()) <= reasons
    return Check(
        f"{len(due)} of the poison tasks are dead letters, by {', '.join(sorted(reasons))}",
        right,
        ", ".join(f"{unit}: {reason}" for unit, reason in sorted(found.items())) or "none",
    )


def _limits(result: Result, drill: Drill, patience: float) -> list[Check]:
    checks = []
    own = [item for item in result.rounds if item.drill == drill.name]
    for metric, seconds in drill.at_least.items():
        least = min((item.metric(metric) or 0.0 for item in own), default=0.0)
        checks.append(
            Check(
                f"{drill.name}: {metric} >= {seconds:g} s, the fault was there",
                least >= seconds,
                _seconds(least),
            )
        )
    for metric, limit in drill.limits.items():
        values = [value for item in own if (value := item.metric(metric)) is not None]
        checks.append(_limit(drill, metric, Limit(limit.median * patience, limit.worst * patience), values))
        if len(values) < len(own):
            checks.append(
                Check(f"{drill.name}: {metric} in every round", False, f"{len(values)} of {len(own)}")
            )
    return checks


def _limit(drill: Drill, metric: str, limit: Limit, values: Sequence[float]) -> Check:
    if not values:
        return Check(f"{drill.name}: {metric}", False, "no value")
    median, worst = statistics.median(values), max(values)
    ok = worst <= limit.worst
    what = f"{drill.name}: {metric} <= {limit.worst:g} s"
    if len(values) >= MEDIAN_OF:
        ok = ok and median <= limit.median
        what += f", median <= {limit.median:g} s"
    return Check(what, ok, f"median {median:.2f}, worst {worst:.2f} s")


def _units(units: Sequence[int]) -> str:
    shown = ", ".join(map(str, units[:10])) + (" ..." if len(units) > 10 else "")
    return f"{len(units)}: {shown}" if units else "none"


def _some(things: Sequence[object]) -> str:
    shown = "; ".join(map(str, things[:3])) + (" ..." if len(things) > 3 else "")
    return f"{len(things)}: {shown}" if things else "none"


def _seconds(value: float | None) -> str:
    return "not in time" if value is None else f"{value:.1f} s"
