"""Each lesson of ./lab tour that kills nothing passes, and changed lessons fail with an explanation."""

from __future__ import annotations

from pathlib import Path

from tests.lab.commands import ROOT, UserLab

#: Lesson -> what is changed, and which claim is then not true.
BROKEN = {
    "03-ack": ("auto_ack=False", "auto_ack=True", "a message without acknowledgement is kept"),
    "04-prefetch": ('"fair", prefetch=1', '"fair", prefetch=0', "with prefetch 1 the fast one gets most"),
    "06-exchanges": ('"mail": "*.order.*"', '"mail": "*.order"', "topic    eu.order.new"),
}


def test_lessons_pass_and_leave_nothing_on_the_brokers(lab: UserLab) -> None:
    listed = lab.run("tour", "--list", "--json").json()
    quiet = [lesson["name"] for lesson in listed if not lesson["kills_a_broker"]]
    done = lab.run("tour", "--json", *quiet)
    assert done.status == 0, str(done)
    assert [lesson["name"] for lesson in done.json()["lessons"]] == quiet
    for lesson in done.json()["lessons"]:
        assert lesson["left_out"] or sum("✓" in line for line in lesson["output"]) >= 2, lesson
    for what in ("vhosts", "users"):
        found = lab.run("shell", "broker-1", "rabbitmqctl", "--quiet", f"list_{what}")
        assert "tour" not in found.out.split(), found.out


def test_changed_lessons_fail_with_an_explanation(lab: UserLab, tmp_path: Path) -> None:
    for name, (before, after, _claim) in BROKEN.items():
        text = (ROOT / "tour" / f"{name}.py").read_text(encoding="utf-8")
        assert before in text
        (tmp_path / f"{name}.py").write_text(text.replace(before, after), encoding="utf-8")
    done = lab.run("tour", "--json", *(str(tmp_path / f"{name}.py") for name in BROKEN))
    assert done.status == 1, str(done)
    for lesson, (_before, _after, claim) in zip(done.json()["lessons"], BROKEN.values(), strict=True):
        assert not lesson["ok"], lesson
        assert any(f"✗ not true: {claim}" in line for line in lesson["output"]), lesson
