"""demo: what it submits, how long it waits, and its errors when there is no picture."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import httpx
import pytest

from labctl.commands import demo
from labctl.console_api import Console, Progress
from labctl.context import Context
from labctl.errors import LabError
from labctl.screen import Step

SENTENCE = "tile: 1024 is more than this picture is high."


def console(status: int, body: object, monkeypatch: pytest.MonkeyPatch) -> Console:
    """A console whose gateway always answers so."""
    monkeypatch.setattr("labctl.console_api.PATIENCE_S", 0.0)
    transport = httpx.MockTransport(lambda _request: httpx.Response(status, json=body))
    made = Console.__new__(Console)
    made._client = httpx.Client(base_url="https://127.0.0.1:8443", transport=transport)
    return made


@pytest.mark.parametrize(("status", "exit_code"), [(422, 2), (429, 1)])
def test_a_refusal_has_the_sentence_of_the_gateway(
    status: int, exit_code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = console(status, {"error": SENTENCE}, monkeypatch)
    with pytest.raises(LabError) as caught:
        refusing.submit_render(asdict(demo.View(tile=1024)), "normal")
    assert str(caught.value) == f"The console refused POST /api/jobs/render ({status}): {SENTENCE}"
    assert caught.value.exit_code == exit_code


def test_the_gateway_gets_the_priority() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(202, json={"job": "j"})

    made = Console.__new__(Console)
    made._client = httpx.Client(base_url="https://127.0.0.1:8443", transport=httpx.MockTransport(answer))
    assert made.submit_render(asdict(demo.View()), "high") == "j"
    assert asked[0].url.params["priority"] == "high"


def test_a_gateway_that_cannot_work_now_shows_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    unavailable = console(503, {"error": "the database does not answer."}, monkeypatch)
    with pytest.raises(LabError, match=r"HTTP 503: the database does not answer\."):
        unavailable.job("j")


def test_an_answer_that_is_not_the_gateways_is_shown_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LabError, match=r"\(404\): \[\]$"):
        console(404, [], monkeypatch).job("j")


def test_the_progress_of_a_job_has_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"state": "failed", "done": 1, "total": 4, "by_host": {"worker-1": 1}, "error": "out of memory"}
    found = console(200, answer, monkeypatch).job("j")
    assert found == Progress("failed", 1, 4, {"worker-1": 1}, "out of memory")


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (Progress("cancelled", 1, 4, {}), "Job j was cancelled with 1 of 4 tiles; run ./lab demo again."),
        (Progress("failed", 3, 4, {}, "no majority."), "Job j failed with 3 of 4 tiles: no majority."),
        (
            Progress("failed", 0, 4, {}),
            "Job j failed with 0 of 4 tiles: see ./lab logs mosaic-worker@render.",
        ),
    ],
)
def test_a_job_that_ended_without_a_picture_is_reported_at_once(
    end: Progress, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(_seconds: float) -> None:
        pytest.fail("it waits for a job that has ended")

    monkeypatch.setattr("labctl.commands.demo.time.sleep", wait)

    class Lab:
        def job(self, _job: str) -> Progress:
            return end

    with pytest.raises(LabError) as caught:
        demo._wait(cast(Console, Lab()), "j", Step("render"), 60)
    assert str(caught.value).startswith(words)
    assert caught.value.exit_code == 1


def test_a_picture_by_one_host_is_an_error(tmp_path: Path) -> None:
    def picture(by_host: dict[str, int]) -> demo.Picture:
        return demo.Picture("j", 4, by_host, 2.0, tmp_path / "a.png", tmp_path / "b.png")

    def lab(*workers: str) -> Context:
        return cast(Context, SimpleNamespace(substrate=SimpleNamespace(groups=lambda: {"workers": workers})))

    alone, good = picture({"worker-1": 4, "worker-2": 0}), picture({"worker-1": 3, "worker-2": 1})
    with pytest.raises(LabError, match="Only worker-1, worker-2 rendered"):
        demo.require_two_hosts(lab("worker-1", "worker-2"), alone)
    demo.require_two_hosts(lab("worker-1"), alone)
    demo.require_two_hosts(lab("worker-1", "worker-2"), good)
    assert good.summary() == "4 tiles, 2.0 tiles/s: worker-1 75%, worker-2 25%"


def test_a_demo_goes_on_while_tiles_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is on the time without one more tile, not on the picture."""
    clock = [0.0]
    monkeypatch.setattr("labctl.commands.demo.time.monotonic", lambda: clock[0])
    monkeypatch.setattr(
        "labctl.commands.demo.time.sleep", lambda _seconds: clock.__setitem__(0, clock[0] + 50)
    )

    class Lab:
        def __init__(self, *states: str) -> None:
            self._answers = [Progress(state, done, 4, {}) for done, state in enumerate(states)]

        def job(self, _job: str) -> Progress:
            return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    step = Step("render")
    slow = Lab("running", "running", "running", "running", "done")
    assert demo._wait(cast(Console, slow), "j", step, 60).done == 4
    assert clock[0] == 200
    with pytest.raises(LabError, match="1 of 4 tiles and got none for 60 s"):
        demo._wait(cast(Console, Lab("running", "running")), "j", step, 60)
