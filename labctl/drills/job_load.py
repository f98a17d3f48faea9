"""A load of jobs: renders and scales submitted to the gateway's API at a steady rate, as users do."""

import itertools
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import httpx

from labctl.console_api import Console
from labctl.drills import job_products
from labctl.drills.definition import SingleTask
from labctl.drills.job_ledger import RUNNING, Answer, JobLedger, first_units, parse_jobs
from labctl.drills.load import Counts, Load, NotHeldError
from labctl.drills.targets import Held
from labctl.errors import LabError

RATE = 0.5  # submissions a second; hosts that are so many times slower get so many times fewer
PATTERN = ("render", "scale", "scale", "scale")
NO_ANSWER_S = 30.0  # after which a request is given up
AT_ONCE = 24  # requests: more than come while one is given up
LOOK_S = 1.0
LISTED = 200  # of the latest jobs
HOLD_S = 45.0
POLL_S = 0.1
READERS = 4


class JobLoad(Load):
    """A running load of jobs, from this machine to the console's address."""

    vhost = "mosaic"
    queue = "mosaic.render"
    worker_unit = "mosaic-worker@render.service"

    def __init__(self, console: Console, patience: float) -> None:
        """Start with a first render. Raises LabError when that is refused. `console` is closed at the end."""
        self._console = console
        self._patience = patience
        self._rate = RATE / patience
        self._requests = job_products.requests()
        self._offset = 0.0
        self._answers: list[Answer] = []
        self._under_way = 0
        self._over: set[str] = set()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._ended = threading.Event()
        self._pool = ThreadPoolExecutor(AT_ONCE, "submit")
        self._submitting = threading.Thread(target=self._submit_steadily, name="submit", daemon=True)
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        first = self._submit("render")
        if not first.accepted:
            raise LabError(f"The console did not take the first job ({first}); ./lab status shows why.")
        asked = time.time()
        job = self._console.get(f"/api/jobs/{first.job}").json()
        answered = time.time()
        # It runs for so long by the database's clock, so that is the time there.
        there = datetime.fromisoformat(job["created"]).timestamp() + job["seconds"]
        self._offset = there - (asked + answered) / 2
        self._answers[0] = replace(first, at=first.at + self._offset)
        self._submitting.start()
        threading.Thread(target=self._look_steadily, name="look", daemon=True).start()

    @property
    def counts(self) -> Counts:
        """Jobs submitted, accepted, not accepted, and over."""
        with self._lock:
            accepted = sum(answer.accepted for answer in self._answers)
            answered = len(self._answers)
            return Counts(answered + self._under_way, accepted, answered - accepted, len(self._over))

    def progress(self) -> str:
        """The rate and the counts, for the screen."""
        counts = self.counts
        words = f"{self._rate:g} jobs/s, {counts.confirmed} accepted, {counts.executed} ended"
        return words + (f", {counts.unknown} refused" if counts.unknown else "")

    def now(self) -> float:
        """The database's time, by which the ledger's entries go; seconds since 1970."""
        return time.time() + self._offset

    def hold(self, host: str) -> Held:  # noqa: ARG002 - which host takes it is the broker's choice
        """Submit a tile that takes seconds, and wait until some host begins it; raises NotHeldError."""
        answer = self._submit("long render")
        if not answer.accepted:
            raise NotHeldError(f"The console did not take a long render ({answer}); ./lab status shows why.")
        with self._lock:
            unit = first_units(self._answers)[answer.job]
        deadline = time.monotonic() + HOLD_S * self._patience
        while time.monotonic() < deadline:
            (part,) = self._console.get(f"/api/jobs/{answer.job}").json()["parts"]
            if part["state"] == RUNNING:
                return Held(unit, part["host"], part["pid"])
            time.sleep(POLL_S)
        raise NotHeldError("No worker began a long render in time; ./lab status shows which workers consume.")

    def publish(self, single: SingleTask) -> NoReturn:
        """Users publish no tasks."""
        raise LabError(f"A task of kind {single.kind} cannot be submitted as a job.")

    def stop(self) -> float:
        """Submit no more; returns the time. Counting goes on."""
        self._stopped.set()
        self._submitting.join()
        return self.now()

    def close(self) -> None:
        """End; what was submitted goes on, and stays in the list of jobs like that of any user."""
        self._stopped.set()
        self._ended.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._console.close()

    def read_back(self, file: Path) -> JobLedger:
        """What the API says of each accepted job, its attempts and its products."""
        answers = list(self._answers)
        accepted = [answer.job for answer in answers if answer.accepted]
        with ThreadPoolExecutor(READERS, "read") as pool:
            records = dict(zip(accepted, pool.map(self._record, accepted), strict=True))
        dead = self._console.get("/api/dead-letters", limit=200).json()["letters"]
        document = {"answers": [asdict(answer) for answer in answers], "jobs": records, "dead": dead}
        file.write_text(json.dumps(document), encoding="utf-8")
        return parse_jobs(document)

    def _record(self, job: str) -> dict[str, Any]:
        found = self._console.get(f"/api/jobs/{job}").json()
        attempts = self._console.get(f"/api/jobs/{job}/attempts", limit=1000).json()["attempts"]
        missing = job_products.missing(self._console, found) if found["state"] == "done" else ""
        return {"job": found, "attempts": attempts, "missing": missing}

    def _submit_steadily(self) -> None:
        due = time.monotonic()
        for kind in itertools.cycle(PATTERN[1:] + PATTERN[:1]):
            due += 1 / self._rate
            if self._stopped.wait(max(0.0, due - time.monotonic())):
                return
            with self._lock:
                self._under_way += 1
            self._pool.submit(self._submit_beside, kind)

    def _submit_beside(self, kind: str) -> None:
        try:
            self._submit(kind)
        finally:
            with self._lock:
                self._under_way -= 1

    def _submit(self, kind: str) -> Answer:
        path, arguments = self._requests[kind]
        at, started = self.now(), time.monotonic()
        try:
            response = self._console.ask_once("POST", path, NO_ANSWER_S * self._patience, **arguments)
            answer = answer_of(kind, at, time.monotonic() - started, response)
        except httpx.HTTPError as error:
            answer = Answer(at, time.monotonic() - started, kind, 0, f"{type(error).__name__}: {error}")
        with self._lock:
            self._answers.append(answer)
        return answer

    def _look_steadily(self) -> None:
        while not self._ended.wait(LOOK_S):
            with suppress(httpx.HTTPError, RuntimeError, ValueError, KeyError):
                self._look()

    def _look(self) -> None:
        """Note which jobs are over; a gateway that cannot say is asked again."""
        with self._lock:
            under_way = {answer.job for answer in self._answers if answer.accepted} - self._over
        latest = self._ask("/api/jobs", limit=LISTED)["jobs"] if under_way else []
        states = {job["job"]: job["state"] for job in latest}
        for job in under_way:
            state = states.get(job) or self._ask(f"/api/jobs/{job}")["state"]
            if state != RUNNING:
                with self._lock:
                    self._over.add(job)

    def _ask(self, path: str, **parameters: object) -> dict[str, Any]:
        found: dict[str, Any] = (
            self._console.ask_once("GET", path, NO_ANSWER_S, params=parameters).raise_for_status().json()
        )
        return found


def answer_of(kind: str, at: float, seconds: float, response: httpx.Response) -> Answer:
    """An answer with what its body says; what is no JSON object says nothing."""
    try:
        body = response.json()
    except ValueError:
        body = None
    said = body if isinstance(body, dict) else {}
    error, job, parts = said.get("error"), said.get("job"), said.get("parts")
    return Answer(
        at,
        seconds,
        kind,
        response.status_code,
        error if isinstance(error, str) else "",
        job if isinstance(job, str) else "",
        parts if isinstance(parts, int) else 0,
    )
