"""./lab drill keeps what it has found, whatever comes after."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labctl.audit.rules import guards
from labctl.commands import drill
from labctl.context import Context
from labctl.drills import application, journals, runner
from labctl.drills.application import Application, Call
from labctl.drills.ledger import Ledger, Totals
from labctl.drills.metrics import Window
from labctl.drills.result import Result
from labctl.errors import LabError, UsageError
from labctl.paths import LabPaths
from labctl.screen import Screen


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    groups = {"brokers": ["b-1", "b-2", "b-3"], "workers": ["w-1", "w-2"]}
    substrate = SimpleNamespace(groups=lambda: groups, patience=lambda: 1.0)
    monkeypatch.setattr(drill, "_draw", lambda *_: None)
    monkeypatch.setattr(journals, "keep", lambda _context, target, _since: target.mkdir(parents=True))
    return Context(LabPaths("lab", tmp_path), substrate, Screen(json=True))


def ends_with(error: LabError, key: str) -> object:
    """A run that ends with `error` in this variant, and well in the others."""

    def execute(_context: Context, run: runner.Run, _step: object) -> Result:
        if run.key == key:
            raise error
        run.folder.mkdir(parents=True, exist_ok=True)
        totals = Totals(5, 5, 0, 5, 0, 0, 0, 0, [], [], [])
        ledger = Ledger({}, [], {})
        return Result(run.series.name, run.profile, run.run, [], totals, ledger, Window(0.0, 9.0), 1.0)

    return execute


OWN: dict[str, Any] = {"app": "shop", "task": "shop.add", "seed": 1}


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(_context: Context, call: Call) -> Application:
        return Application("shop", "shop:app", "celery", ["default"], call)

    monkeypatch.setattr(application, "find", find)


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("error", [LabError("No worker took it."), UsageError("The lab is not healthy.")])
def test_the_half_that_is_done_is_kept_when_the_other_has_no_result(
    error: LabError, context: Context, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runner, "execute", ends_with(error, "durable"))
    report = context.paths.root / "junit.xml"
    choice = drill.Choice(("kill-proxy",), durable=True, junit=report, **OWN)
    assert drill.command(context, choice) == 1
    document = json.loads(capsys.readouterr().out)
    assert [found["profile"] for found in document["drills"]] == ["as it is"]
    assert document["failed"] == [f"kill-proxy: {error}"]
    (kept,) = context.paths.base.glob("reports/drills/*/report.json")
    assert json.loads(kept.read_text(encoding="utf-8")) == document
    assert 'name="kill-proxy (durable)"' in report.read_text(encoding="utf-8")
    assert f'message="{error}"' in report.read_text(encoding="utf-8")


@pytest.mark.usefixtures("shop")
def test_journals_are_kept_of_a_run_without_a_result(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "execute", ends_with(LabError("No worker took it."), "durable"))
    drill.command(context, drill.Choice(("kill-worker",), durable=True, **OWN))
    assert [*context.paths.base.glob("reports/drills/*/kill-worker/journals-durable")]


def test_a_drill_that_was_refused_reports_nothing(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "execute", ends_with(UsageError("The lab is not healthy."), "lab"))
    with pytest.raises(UsageError, match="not healthy"):
        drill.command(context, drill.Choice(("kill-worker",), seed=1))
    assert not [*context.paths.base.glob("reports/drills/*/report.json")]


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (drill.Choice(("kill-proxy",), durable=True), "need --app"),
        (drill.Choice(("kill-proxy",), app="shop"), "needs --task"),
        (drill.Choice(("kill-proxy",), **OWN, args="1, 2"), "is no JSON of this form"),
        (drill.Choice(("kill-proxy",), **OWN, args="{}"), "is no JSON of this form"),
        (drill.Choice(("kill-proxy",), **OWN, kwargs="[]"), "is no JSON of this form"),
        (drill.Choice(("poison-task",), **OWN), "poison-task needs tasks of mosaic"),
        (drill.Choice(("kill-proxy", "jobs"), **OWN), "jobs needs tasks of mosaic"),
        (drill.Choice(("kill-proxy",), **OWN, without=["task_acks_early"]), "no setting task_acks_early"),
        (drill.Choice(("kill-proxy",), **OWN, evidence=True), "No setting of celery_durable guards"),
        (drill.Choice(("kill-proxy",), **OWN, dry="-1"), "0 to 60 seconds"),
        (drill.Choice((), **OWN, soak=5), "is for the lab's own load"),
    ],
)
def test_wrong_usage_with_an_application_is_named(context: Context, choice: drill.Choice, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        drill.command(context, choice)


def test_the_word_after_dry_may_be_a_drill() -> None:
    choice, call = drill._call(drill.Choice(("kill-worker",), **OWN, dry="kill-proxy"))
    assert (tuple(choice.names), call and call.dry) == (("kill-proxy", "kill-worker"), drill.DRY_S)


def test_the_variants_of_an_application() -> None:
    (series,) = drill._chosen(drill.Choice(("kill-pool-child",), **OWN))

    def variants(**options: Any) -> list[str]:
        return [str(variant) for variant in drill._variants(drill.Choice((), **OWN, **options), series)]

    assert variants() == ["as it is"]
    assert variants(durable=True) == ["as it is", "durable"]
    assert variants(without=["task_acks_late"]) == ["as it is", "durable", "without task_acks_late"]
    assert variants(evidence=True)[:2] == ["durable", f"without {guards()['kill-pool-child'][0]}"]


def test_all_drills_of_an_application_leave_out_those_of_mosaic() -> None:
    names = {series.name for series in drill._chosen(drill.Choice((), everything=True, **OWN))}
    assert "kill-pool-child" in names
    assert not names & {"poison-task", "long-task", "jobs"}
