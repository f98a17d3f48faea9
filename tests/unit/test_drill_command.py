"""./lab drill keeps what it has found, whatever comes after."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from labctl.commands import drill
from labctl.context import Context
from labctl.drills import journals, runner
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


def ends_with(error: LabError, profile: str) -> object:
    """A run that ends with `error` by this profile, and well by the other."""

    def execute(_context: Context, run: runner.Run, _step: object) -> Result:
        if run.profile == profile:
            raise error
        run.folder.mkdir(parents=True, exist_ok=True)
        totals = Totals(5, 5, 0, 5, 0, 0, 0, 0, [], [], [])
        ledger = Ledger({}, [], {})
        return Result(run.name, run.profile, run.run, [], totals, ledger, Window(0.0, 9.0), 1.0)

    return execute


@pytest.mark.parametrize("error", [LabError("No worker took it."), UsageError("The lab is not healthy.")])
def test_the_half_that_is_done_is_kept_when_plain_celery_has_no_result(
    error: LabError, context: Context, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runner, "execute", ends_with(error, "stock"))
    assert drill.command(context, drill.Choice(("kill-worker",), seed=1, profile="stock")) == 1
    document = json.loads(capsys.readouterr().out)
    assert [found["profile"] for found in document["drills"]] == ["lab"]
    assert document["failed"] == [f"kill-worker: {error}"]
    (report,) = context.paths.base.glob("reports/drills/*/report.json")
    assert json.loads(report.read_text(encoding="utf-8")) == document


def test_journals_are_kept_of_a_run_without_a_result(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "execute", ends_with(LabError("No worker took it."), "stock"))
    drill.command(context, drill.Choice(("kill-worker",), seed=1, profile="stock"))
    assert [*context.paths.base.glob("reports/drills/*/kill-worker/journals-stock")]


def test_a_drill_that_was_refused_reports_nothing(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "execute", ends_with(UsageError("The lab is not healthy."), "lab"))
    with pytest.raises(UsageError, match="not healthy"):
        drill.command(context, drill.Choice(("kill-worker",), seed=1))
    assert not [*context.paths.base.glob("reports/drills/*/report.json")]
