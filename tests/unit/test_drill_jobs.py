"""The drill `jobs`: what counts as lost, twice, missing or a bad refusal, and the load against a gateway."""

from __future__ import annotations

import copy
import io
import json
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from labctl.console_api import Console
from labctl.drills import job_load, job_products
from labctl.drills.expectations import judge
from labctl.drills.job_ledger import Answer, parse_jobs
from labctl.drills.job_load import JobLoad, answer_of
from labctl.drills.ledger import DeadLetter, Ledger, Totals, add_up
from labctl.drills.load import NotHeldError
from labctl.drills.metrics import Window
from labctl.drills.result import Result
from labctl.drills.tables import headline, markdown, row
from labctl.errors import LabError

RECORDED = Path(__file__).with_name("recorded") / "drill_jobs.json"
Document = dict[str, Any]
WELL = Totals(10, 10, 0, 10, 0, 0, 0, 0, [], [], [])
SENTENCE = "the database does not answer; try again in a moment."


@pytest.fixture
def document() -> Document:
    """A gateway's own answers: a render of 4 tiles (units 1 to 4), a scale of 4 sizes and a sheet (5 to 9),
    a 503, and a long render (10).
    """
    found: Document = json.loads(RECORDED.read_text(encoding="utf-8"))
    return found


def record(document: Document, number: int) -> dict[str, Any]:
    """The accepted job of that number."""
    found: dict[str, Any] = list(document["jobs"].values())[number]
    return found


def attempt(document: Document, number: int, part: int) -> dict[str, Any]:
    (found,) = (row for row in record(document, number)["attempts"] if row["part"] == part)
    return dict(found)


def result(document: Document, **changes: Any) -> Result:
    ledger = parse_jobs(document)
    fields = {"rounds": [], "totals": add_up(ledger), "load": Window(0.0, 9.0), "drained": 1.0, **changes}
    return Result("jobs", "lab", "run", ledger=ledger, **fields)


def failed(document: Document, **changes: Any) -> list[str]:
    return [check.what for check in judge(result(document, **changes), []) if not check.ok]


def test_recorded_answers_add_up(document: Document) -> None:
    ledger = parse_jobs(document)
    assert add_up(ledger) == WELL
    assert failed(document) == []
    summary = ledger.summary()
    assert (summary["submitted"], summary["accepted"], summary["done"]) == (4, 3, 3)
    assert summary["refused"] == {"503": 1}
    assert ledger.longest_job == max(found["job"]["seconds"] for found in document["jobs"].values())
    assert ledger.longest_answer == max(answer["seconds"] for answer in document["answers"])
    first = ledger.published[1]
    assert (first.attempted, first.confirmed) == (
        ledger.answers[0].at,
        first.attempted + ledger.answers[0].seconds,
    )


def test_a_part_that_is_not_done_is_lost_and_its_job_not_done(document: Document) -> None:
    found = record(document, 0)
    found["job"]["state"] = found["job"]["parts"][2]["state"] = "running"
    found["attempts"] = [row | {"outcome": "lost"} if row["part"] == 2 else row for row in found["attempts"]]
    assert add_up(parse_jobs(document)).lost == [3]
    (late,) = parse_jobs(document).not_done
    assert late.ended is None
    assert str(late).endswith("is running with 3 of 4 parts")
    assert failed(document) == ["no confirmed task is lost", "every accepted job ends done"]


@pytest.mark.parametrize("state", ["failed", "cancelled", "running"])
def test_a_job_must_end_done_whatever_its_parts(document: Document, state: str) -> None:
    record(document, 1)["job"]["state"] = state
    assert failed(document) == ["every accepted job ends done"]


def test_a_job_that_is_done_without_one_of_its_parts_is_not_done(document: Document) -> None:
    record(document, 1)["job"]["parts"][4]["state"] = "accepted"
    assert [job.kind for job in parse_jobs(document).not_done] == ["scale"]
    assert add_up(parse_jobs(document)).lost == [9]


def test_a_part_that_two_attempts_did_is_twice(document: Document) -> None:
    record(document, 1)["attempts"].append(attempt(document, 1, 0) | {"number": 2, "host": "worker-2"})
    assert add_up(parse_jobs(document)).twice == [5]
    assert failed(document) == ["every effect is had once"]


def test_also_when_the_same_process_did_it_twice(document: Document) -> None:
    record(document, 1)["attempts"].append(attempt(document, 1, 0) | {"number": 2})
    assert add_up(parse_jobs(document)).twice == [5]


def test_a_part_that_another_process_did_than_the_job_says_is_not_once(document: Document) -> None:
    record(document, 2)["job"]["parts"][0]["pid"] += 1
    assert add_up(parse_jobs(document)).twice == [10]


@pytest.mark.parametrize("host", ["worker-1", "worker-2"])
@pytest.mark.parametrize("outcome", ["lost", "retried", "duplicate", None])
def test_an_attempt_without_effect_is_counted_and_allowed(
    document: Document, outcome: str | None, host: str
) -> None:
    row = attempt(document, 0, 1) | {"number": 2, "host": host, "outcome": outcome, "seconds": None}
    record(document, 0)["attempts"].append(row)
    totals = add_up(parse_jobs(document))
    assert (totals.repeated, totals.duplicates) == (1, int(outcome == "duplicate"))
    assert failed(document) == []


def test_a_job_with_fewer_parts_than_it_was_accepted_with(document: Document) -> None:
    document["answers"][0]["parts"] = 5
    assert [job.kind for job in parse_jobs(document).miscounted] == ["render"]
    assert add_up(parse_jobs(document)).lost == [5]


def test_a_job_with_more_parts_than_it_was_accepted_with(document: Document) -> None:
    """They are not taken for parts of the next job."""
    document["answers"][0]["parts"] = 3
    assert [job.kind for job in parse_jobs(document).miscounted] == ["render"]
    totals = add_up(parse_jobs(document))
    assert (len(totals.unexpected), totals.twice, totals.lost) == (1, [], [])


def test_a_job_without_its_picture_is_found(document: Document) -> None:
    record(document, 0)["missing"] = "1 tiles of its picture are empty"
    assert failed(document) == ["every picture, size and sheet is there"]


def test_only_dead_letters_of_these_jobs_count(document: Document) -> None:
    job = document["answers"][1]["job"]
    letter = {"reason": "delivery_limit", "queue": "mosaic.scale", "count": 20, "handle": "f" * 24}
    bodies = [
        f'[["{job}", 3], {{}}, {{}}]',
        f'[["{uuid.uuid4()}", 3], {{}}, {{}}]',
        f'[["{job}"], {{}}, {{}}]',
        "x",
    ]
    document["dead"] = [letter | {"preview": body} for body in bodies]
    assert parse_jobs(document).dead == [
        DeadLetter(8, "delivery_limit", "mosaic.scale", 20),
        DeadLetter(5, "delivery_limit", "mosaic.scale", 20),
    ]
    assert failed(document) == ["no other task is a dead letter"]


@pytest.mark.parametrize(
    ("status", "error", "bad"),
    [
        (503, SENTENCE, False),
        (429, SENTENCE, False),
        (503, "", True),  # a page of nginx
        (503, "Service Unavailable", True),
        (500, SENTENCE, True),
        (422, SENTENCE, True),
        (202, "", True),  # without a job
        (0, "ReadTimeout: timed out.", True),
    ],
)
def test_what_a_bad_refusal_is(document: Document, status: int, error: str, bad: bool) -> None:
    document["answers"].append(
        {"at": 9.0, "seconds": 0.1, "kind": "scale", "status": status, "error": error, "job": "", "parts": 0}
    )
    ledger = parse_jobs(document)
    assert [answer.status for answer in ledger.bad_answers] == ([status] if bad else [])
    assert sum(ledger.refused.values()) == 2
    assert len(ledger.jobs) == 3
    assert failed(document) == (["every refusal is a 429 or 503 with a sentence"] if bad else [])


def test_bounds_of_answers_and_jobs(document: Document) -> None:
    document["answers"][2]["seconds"] = 10.1
    record(document, 0)["job"]["seconds"] = 150.1
    assert failed(document) == ["every answer comes within 10 s", "every job ends within 150 s"]
    assert [c.what for c in judge(result(document), [], patience=2) if not c.ok] == []


def test_nothing_accepted_is_not_well(document: Document) -> None:
    document["answers"] = document["answers"][2:3]
    assert failed(document) == ["renders and scales are accepted"]


def test_the_report_has_the_counts(document: Document) -> None:
    found = result(document)
    assert found.as_json()["jobs"]["accepted"] == 3
    cells = row(found)
    assert (cells["accepted"], cells["refused"], cells["done"], cells["parts"]) == (
        "3",
        "1 (503: 1)",
        "3",
        "10",
    )
    assert "3 jobs accepted, 1 (503: 1) refused, 0 not done; 10 parts, 0 lost" in headline(found)
    tasks = Result("freeze", "lab", "run", [], WELL, Ledger({}, [], {}), Window(0, 9), 1)
    others = markdown([tasks])
    assert markdown([found]) != others
    assert markdown([tasks, found, tasks]) == others + others.splitlines(True)[-1] + "\n" + markdown([found])


def test_a_run_of_jobs_is_drawn(document: Document, tmp_path: Path) -> None:
    from labctl.drills import plot

    begin = document["answers"][0]["at"]
    plot.draw([result(document, load=Window(begin, begin + 9))], tmp_path / "timeline.png")
    assert (tmp_path / "timeline.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (httpx.Response(202, json={"job": "j", "parts": 4}), Answer(1.0, 0.2, "scale", 202, "", "j", 4)),
        (httpx.Response(429, json={"error": SENTENCE}), Answer(1.0, 0.2, "scale", 429, SENTENCE)),
        (httpx.Response(503, html="<h1>503</h1>"), Answer(1.0, 0.2, "scale", 503)),
        (httpx.Response(503, json=[]), Answer(1.0, 0.2, "scale", 503)),
        (httpx.Response(503, json={"error": {"detail": "no"}}), Answer(1.0, 0.2, "scale", 503)),
        (httpx.Response(202, json={"job": None, "parts": "4"}), Answer(1.0, 0.2, "scale", 202)),
    ],
)
def test_what_an_answer_says(response: httpx.Response, expected: Answer) -> None:
    assert answer_of("scale", 1.0, 0.2, response) == expected


def png(size: tuple[int, int], hole: tuple[int, int, int, int] | None = None) -> bytes:
    """A picture with a gradient, and a hole in the colour of what is not there."""
    image = Image.linear_gradient("L").convert("RGB").resize(size)
    if hole:
        image.paste((28, 30, 36), hole)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


RENDER = {"job": "j", "kind": "render", "params": {"width": 96, "height": 96, "tile": 48}}
SCALE = {"job": "j", "kind": "scale", "params": {"sizes": [32, 64]}}
WHOLE_SCALE = {
    "/api/jobs/j/image": png((500, 292)),
    "/api/jobs/j/result": json.dumps({"sizes": [{"edge": 32}, {"edge": 64}]}).encode(),
    "/api/jobs/j/tiles/0.png": png((32, 24)),
    "/api/jobs/j/tiles/1.png": png((64, 48)),
}


def console(handle: Callable[[httpx.Request], httpx.Response]) -> Console:
    made = Console.__new__(Console)
    made._client = httpx.Client(base_url="https://127.0.0.1:8443", transport=httpx.MockTransport(handle))
    return made


def missing(job: dict[str, Any], files: dict[str, bytes]) -> str:
    def handle(request: httpx.Request) -> httpx.Response:
        data = files.get(request.url.path)
        return (
            httpx.Response(404, json={"error": "nothing."})
            if data is None
            else httpx.Response(200, content=data)
        )

    return job_products.missing(console(handle), job)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (png((96, 96)), ""),
        (png((96, 96), (48, 0, 96, 48)), "1 tiles of its picture are empty"),
        (png((96, 48)), "its picture has 96 x 48 pixels"),
        (png((96, 96))[:-40], "no whole PNG"),
        (b"<html>", "6 bytes that are no whole PNG"),
        (None, "404"),
    ],
)
def test_what_is_missing_of_a_render(data: bytes | None, words: str) -> None:
    found = missing(RENDER, {} if data is None else {"/api/jobs/j/image": data})
    assert words in found
    assert bool(words) == bool(found)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ""),
        ({"/api/jobs/j/image": png((500, 292), (0, 0, 500, 292))}, "its sheet is empty"),
        ({"/api/jobs/j/tiles/1.png": png((64, 64))}, "its size 64 has 64 x 64 pixels"),
        ({"/api/jobs/j/tiles/1.png": b""}, "its size 64: 0 bytes"),
        ({"/api/jobs/j/tiles/0.png": None}, "404"),
        ({"/api/jobs/j/result": b'{"sizes": [{"edge": 32}]}'}, "its result has sizes [32], not [32, 64]"),
        ({"/api/jobs/j/result": None}, "404"),
    ],
)
def test_what_is_missing_of_a_scale(change: dict[str, bytes | None], words: str) -> None:
    files = {path: data for path, data in (WHOLE_SCALE | change).items() if data is not None}
    found = missing(SCALE, files)
    assert words in found
    assert bool(words) == bool(found)


class Gateway:
    """Takes every job and ends it at once, but for long renders, which run on worker-2; refuses when told."""

    def __init__(self, recorded: Document) -> None:
        self.refuses: httpx.Response | Exception | None = None
        self.refused = 0
        self.jobs: dict[str, dict[str, Any]] = {}
        self.long_state = "running"
        self._recorded = recorded

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if request.method == "POST":
            return self._submit(path, request.content)
        if path == "/api/jobs":
            return httpx.Response(200, json={"jobs": list(self.jobs.values())[:1]})
        if path == "/api/dead-letters":
            return httpx.Response(200, json={"letters": []})
        job = self.jobs[path.split("/")[3]]
        if path.endswith("/attempts"):
            return httpx.Response(200, json={"attempts": job["attempts"]})
        return httpx.Response(200, json=job)

    def _submit(self, path: str, body: bytes) -> httpx.Response:
        if self.refuses is not None:
            self.refused += 1
            if isinstance(self.refuses, Exception):
                raise self.refuses
            return self.refuses
        long = b'"tile":512' in body.replace(b" ", b"")
        found = copy.deepcopy(record(self._recorded, 2 if long else int(path.endswith("/scale"))))
        job = str(uuid.uuid4())
        self.jobs[job] = {**found["job"], "job": job, "attempts": found["attempts"]}
        if long:
            self.jobs[job]["state"] = self.long_state
            self.jobs[job]["parts"][0] |= {"state": self.long_state, "host": "worker-2", "pid": 77}
        return httpx.Response(202, json={"job": job, "parts": len(found["job"]["parts"])})


@pytest.fixture
def gateway(document: Document, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    monkeypatch.setattr(job_load, "RATE", 50.0)
    monkeypatch.setattr(job_load, "LOOK_S", 0.02)
    monkeypatch.setattr(job_products, "missing", lambda _console, job: f"seen {job['kind']}")
    return Gateway(document)


@pytest.fixture
def load(gateway: Gateway) -> Iterator[JobLoad]:
    with JobLoad(console(gateway), 1.0) as running:
        yield running


def wait(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_load_submits_both_kinds_and_reads_back_what_became_of_them(
    load: JobLoad, gateway: Gateway, tmp_path: Path
) -> None:
    wait(lambda: load.counts.confirmed >= 9)
    gateway.refuses = httpx.Response(503, json={"error": SENTENCE})
    wait(lambda: gateway.refused >= 2)
    gateway.refuses, gateway.refused = httpx.ReadTimeout("timed out"), 0
    wait(lambda: gateway.refused >= 2)
    load.stop()
    wait(lambda: load.counts.attempted == load.counts.confirmed + load.counts.unknown)
    wait(lambda: load.counts.executed == load.counts.confirmed)
    assert "accepted" in load.progress()
    assert "refused" in load.progress()
    ledger = load.read_back(tmp_path / "ledger.json")
    assert {job.job for job in ledger.jobs} == set(gateway.jobs)
    kinds = [answer.kind for answer in ledger.answers]
    assert set(kinds) == {"render", "scale"}
    assert 2 <= kinds.count("scale") / kinds.count("render") <= 4
    assert set(ledger.refused) == {0, 503}
    assert {answer.error for answer in ledger.bad_answers} == {"ReadTimeout: timed out"}
    assert {job.missing for job in ledger.jobs} == {"seen render", "seen scale"}
    assert parse_jobs(json.loads((tmp_path / "ledger.json").read_text())) == ledger


def test_times_go_by_the_databases_clock(gateway: Gateway, document: Document, tmp_path: Path) -> None:
    record(document, 0)["job"] |= {"created": "2001-09-09T01:46:40+00:00", "seconds": 7.5}
    with JobLoad(console(gateway), 1.0) as load:
        assert load.now() == pytest.approx(1_000_000_007.5, abs=2)
        load.stop()
        (first, *_) = load.read_back(tmp_path / "ledger.json").answers
    assert first.at == pytest.approx(1_000_000_007.5, abs=2)


def test_a_long_render_is_held_where_it_runs(load: JobLoad, gateway: Gateway, tmp_path: Path) -> None:
    held = load.hold("worker-1")
    assert (held.host, held.pid) == ("worker-2", 77)
    load.stop()
    wait(lambda: not load.counts.attempted > load.counts.confirmed)
    ledger = load.read_back(tmp_path / "ledger.json")
    assert ledger.published[held.unit].kind == "long render"


def test_a_long_render_that_no_worker_begins_is_named(
    load: JobLoad, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_load, "HOLD_S", 0.2)
    gateway.long_state = "accepted"
    with pytest.raises(NotHeldError, match="No worker began"):
        load.hold("worker-1")
    gateway.refuses = httpx.Response(429, json={"error": SENTENCE})
    with pytest.raises(NotHeldError, match=r"429 .*the database does not answer"):
        load.hold("worker-1")


def test_a_load_whose_first_job_is_refused_does_not_begin(gateway: Gateway) -> None:
    gateway.refuses = httpx.Response(503, json={"error": SENTENCE})
    with pytest.raises(LabError, match=r"did not take the first job \(render: 503"):
        JobLoad(console(gateway), 1.0)
