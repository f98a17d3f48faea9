"""Alerts, console and documentation use the list of conditions; for ./lab status see test_report.py."""

from __future__ import annotations

import re
import runpy
from typing import Any

import pytest

from labctl.paths import ROOT
from labctl.status.problems import CONDITIONS
from tests.unit.test_alerts import alerts

ALERTS = {rule["alert"]: rule for rule in alerts()}
PAGE = ROOT / "docs" / "explanation" / "monitoring.md"


def seen_by(whom: str) -> dict[str, str]:
    """Sentence of each condition that is seen so."""
    return {name: one["sentence"] for name, one in CONDITIONS.items() if whom in one["seen_by"]}


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_condition_is_a_name_a_sentence_and_who_sees_it(name: str) -> None:
    assert re.fullmatch(r"([A-Z][a-z]+)+", name)
    assert set(CONDITIONS[name]) == {"seen_by", "sentence"}
    assert CONDITIONS[name]["seen_by"]
    assert set(CONDITIONS[name]["seen_by"]) <= {"status", "alert", "console"}
    assert re.fullmatch(r"[A-Z{][^()]+[^.]\.", CONDITIONS[name]["sentence"]), "details come in parentheses"


def test_alerts_are_the_conditions_that_have_one() -> None:
    assert set(ALERTS) == set(seen_by("alert"))


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_has_the_sentence_of_its_condition(name: str) -> None:
    summary = ALERTS[name]["annotations"]["summary"]
    sentence = re.sub(r" \(.+\)\.$", ".", summary).replace("$labels.instance", "$labels.host")
    assert re.sub(r"\{\{ \$labels\.(\w+) \}\}", r"{\1}", sentence) == CONDITIONS[name]["sentence"]


def test_the_console_has_the_sentences_of_its_conditions() -> None:
    module = ROOT / "app" / "src" / "mosaic" / "gateway" / "lab" / "reasons.py"
    assert runpy.run_path(str(module))["SENTENCES"] == seen_by("console")


def row(name: str, condition: dict[str, Any]) -> str:
    """Line of the table for people."""
    rule = ALERTS.get(name)
    alert = (
        f"{rule['labels']['severity']}, {f'after {after}' if (after := rule.get('for')) else 'at once'}"
        if rule
        else ""
    )
    status, console = ("yes" if whom in condition["seen_by"] else "" for whom in ("status", "console"))
    return f"| `{name}` | {condition['sentence']} | {status} | {alert} | {console} |"


def test_the_page_for_people_has_the_list() -> None:
    rows = [row(name, condition) for name, condition in CONDITIONS.items()]
    found = [line for line in PAGE.read_text().splitlines() if re.match(r"\| `[A-Z]\w+` \|", line)]
    assert found == rows, "\n".join(["the table in docs/explanation/monitoring.md must be:", *rows])
