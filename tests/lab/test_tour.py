"""Each lesson of ./lab tour that kills nothing passes, and changed lessons fail with an explanation."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab.commands import ROOT, UserLab

#: Lesson -> what is changed, and which claim is then not true.
BROKEN = {
    "03-ack": ("auto_ack=False", "auto_ack=True", "a message without acknowledgement is kept"),
    "06-exchanges": ('"mail": "*.order.*"', '"mail": "*.order"', "topic    eu.order.new"),
    "11-limits": ('overflow="reject-publish"', 'overflow="drop-head"', "reject-publish kept the oldest five"),
}


@pytest.fixture(scope="module")
def quiet(lab: UserLab) -> list[str]:
    """Names of the lessons that kill nothing."""
    listed = lab.run("tour", "--list", "--json").json()
    return [lesson["name"] for lesson in listed if not lesson["kills_a_broker"]]


@pytest.fixture(scope="module")
def report(lab: UserLab, quiet: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Document of one tour: these lessons, then the changed ones, of which each must fail."""
    folder = tmp_path_factory.mktemp("tour")
    for name, (before, after, _claim) in BROKEN.items():
        text = (ROOT / "tour" / f"{name}.py").read_text(encoding="utf-8")
        assert before in text
        (folder / f"{name}.py").write_text(text.replace(before, after), encoding="utf-8")
    done = lab.run("tour", "--json", *quiet, *(str(folder / f"{name}.py") for name in BROKEN))
    assert done.status == 1, str(done)
    document: dict[str, Any] = done.json()
    return document


def test_lessons_pass(report: dict[str, Any], quiet: list[str]) -> None:
    passed = report["lessons"][: len(quiet)]
    assert [lesson["name"] for lesson in passed] == quiet
    for lesson in passed:
        assert lesson["ok"], f"{lesson['name']}: {' · '.join(lesson['output'][-3:])}"
        assert lesson["left_out"] or sum("✓" in line for line in lesson["output"]) >= 2, lesson


def test_changed_lessons_fail_with_an_explanation(report: dict[str, Any], quiet: list[str]) -> None:
    changed = report["lessons"][len(quiet) :]
    for lesson, (_before, _after, claim) in zip(changed, BROKEN.values(), strict=True):
        assert not lesson["ok"], lesson
        assert any(f"✗ not true: {claim}" in line for line in lesson["output"]), lesson


@pytest.mark.usefixtures("report")
def test_a_tour_leaves_nothing_on_the_brokers(lab: UserLab) -> None:
    for what in ("vhosts", "users"):
        found = lab.run("shell", "broker-1", "rabbitmqctl", "--quiet", f"list_{what}")
        assert "tour" not in found.out.split(), found.out
