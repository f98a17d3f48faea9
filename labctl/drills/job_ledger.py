"""The record of a load of jobs: the answers of the gateway, and the end of each job that it accepted."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from labctl.drills.ledger import DONE, Attempt, DeadLetter, Ledger, Published

ACCEPTED = 202
REFUSALS = (429, 503)
RUNNING = "running"
PUBLISHER = "console"


@dataclass(frozen=True)
class Answer:
    """What one submission was answered, sent at `at` (seconds since 1970), `seconds` later.

    `status` is 0 when there was no HTTP answer. `error` is the gateway's sentence, "" when it sent none, or
    says why there was no answer. `job` and `parts` are what a 202 names.
    """

    at: float
    seconds: float
    kind: str
    status: int
    error: str = ""
    job: str = ""
    parts: int = 0

    @property
    def accepted(self) -> bool:
        return self.status == ACCEPTED and bool(self.job) and self.parts > 0

    @property
    def bad(self) -> bool:
        """Neither accepted nor a refusal with a sentence for users."""
        return not self.accepted and (self.status not in REFUSALS or not self.error.endswith("."))

    def __str__(self) -> str:
        return f"{self.kind}: {self.status or 'no answer'} after {self.seconds:.1f} s ({self.error})"


@dataclass(frozen=True)
class EndedJob:
    """An accepted job at the end. `promised` parts were accepted, and `parts` are there: state by index.

    `seconds` from its acceptance until it ended, `ended` then, None when it runs still. `missing` says what
    is not there of what it was to make, "" when all is.
    """

    job: str
    kind: str
    state: str
    error: str
    promised: int
    parts: Mapping[int, str]
    seconds: float
    ended: float | None
    missing: str

    def __str__(self) -> str:
        done = sum(state == DONE for state in self.parts.values())
        why = "".join(f": {text}" for text in (self.error, self.missing) if text)
        return f"{self.kind} {self.job} is {self.state} with {done} of {self.promised} parts{why}"


@dataclass(frozen=True)
class JobLedger(Ledger):
    """A ledger whose units are the parts of the accepted jobs, with the answers and the jobs.

    A part is attempted when its job is submitted, confirmed when that is accepted, and has had its effect
    when the API shows it done: by the attempt that the part's host and process ended as done.
    """

    answers: Sequence[Answer] = ()
    jobs: Sequence[EndedJob] = ()

    @cached_property
    def refused(self) -> Mapping[int, int]:
        """How often each status came without a job; 0 stands for no answer."""
        return dict(sorted(Counter(a.status for a in self.answers if not a.accepted).items()))

    @property
    def bad_answers(self) -> list[Answer]:
        return [answer for answer in self.answers if answer.bad]

    @property
    def not_done(self) -> list[EndedJob]:
        return [job for job in self.jobs if job.state != DONE or set(job.parts.values()) != {DONE}]

    @property
    def miscounted(self) -> list[EndedJob]:
        """Jobs whose parts are not those that the 202 promised."""
        return [job for job in self.jobs if sorted(job.parts) != list(range(job.promised))]

    @property
    def incomplete(self) -> list[EndedJob]:
        return [job for job in self.jobs if job.missing]

    @property
    def longest_job(self) -> float:
        """Seconds, of those that ended."""
        return max((job.seconds for job in self.jobs if job.ended is not None), default=0.0)

    @property
    def longest_answer(self) -> float:
        return max((answer.seconds for answer in self.answers), default=0.0)

    def summary(self) -> dict[str, Any]:
        """For the report, as JSON."""
        return {
            "submitted": len(self.answers),
            "accepted": len(self.jobs),
            "refused": {str(status): count for status, count in self.refused.items()},
            "done": len(self.jobs) - len(self.not_done),
            "longest_job_s": round(self.longest_job, 2),
            "longest_answer_s": round(self.longest_answer, 2),
        }


def first_units(answers: Iterable[Answer]) -> dict[str, int]:
    """The number of the first part of each accepted job; the others follow it."""
    found, free = {}, 1
    for answer in answers:
        if answer.accepted:
            found[answer.job] = free
            free += answer.parts
    return found


def parse_jobs(document: Mapping[str, Any]) -> JobLedger:
    """A ledger from what a load of jobs keeps.

    {"answers": [Answer, ...], "dead": the API's dead letters,
     "jobs": {job: {"job": the API's job, "attempts": the API's attempts, "missing": str}}}

    Raises KeyError, ValueError for what is no such document.
    """
    answers = [Answer(**entry) for entry in document["answers"]]
    units = first_units(answers)
    published: dict[int, Published] = {}
    attempts: list[Attempt] = []
    effects: dict[int, int] = {}
    ended = []
    for answer in answers:
        if not answer.accepted:
            continue
        first, record = units[answer.job], document["jobs"][answer.job]
        for unit in range(first, first + answer.parts):
            published[unit] = Published(unit, answer.kind, PUBLISHER, answer.at, answer.at + answer.seconds)
        parts = {int(part["part"]): part for part in record["job"]["parts"]}
        # A part that was not promised must not be taken for one of the next job.
        unit_of = {index: first + index if index < answer.parts else -first - index for index in parts}
        own = _attempts(record["attempts"], unit_of, len(attempts))
        attempts += own
        effects |= _effects(own, {unit_of[index]: part for index, part in parts.items()})
        ended.append(_ended(answer, record))
    return JobLedger(published, attempts, effects, _dead(document["dead"], units), answers, ended)


def _attempts(rows: Iterable[Mapping[str, Any]], unit_of: Mapping[int, int], before: int) -> list[Attempt]:
    found = []
    for number, row in enumerate(rows, start=before + 1):
        started = _time(row["started"])
        end = None if row["seconds"] is None else started + float(row["seconds"])
        unit, outcome = unit_of[int(row["part"])], row["outcome"]
        found.append(Attempt(number, unit, row["number"], row["host"], row["pid"], started, end, outcome))
    return found


def _effects(attempts: Iterable[Attempt], parts: Mapping[int, Mapping[str, Any]]) -> dict[int, int]:
    """The attempt that made each done part done; -1 where none says so."""
    by = {(a.unit, a.host, a.pid): a.id for a in attempts if a.outcome == DONE}
    return {
        unit: by.get((unit, part["host"], part["pid"]), -1)
        for unit, part in parts.items()
        if part["state"] == DONE
    }


def _ended(answer: Answer, record: Mapping[str, Any]) -> EndedJob:
    job = record["job"]
    seconds = float(job["seconds"])
    ended = None if job["state"] == RUNNING else _time(job["created"]) + seconds
    parts = {int(part["part"]): str(part["state"]) for part in job["parts"]}
    return EndedJob(
        answer.job,
        answer.kind,
        job["state"],
        job["error"] or "",
        answer.parts,
        parts,
        seconds,
        ended,
        record["missing"],
    )


def _dead(letters: Iterable[Mapping[str, Any]], units: Mapping[str, int]) -> list[DeadLetter]:
    """The dead letters of these jobs: a message's body begins with the job and the part."""
    found = []
    for letter in letters:
        part = re.search(r'"([0-9a-f-]{36})"(?:, (\d+))?', letter["preview"])
        if part and part[1] in units:
            unit = units[part[1]] + int(part[2] or 0)
            found.append(DeadLetter(unit, letter["reason"], letter["queue"], letter["count"]))
    return found


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
