"""The console explains itself: help texts for columns and figures, and commands and lessons that exist."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from mosaic.gateway.flow.explain import EXPLANATIONS, FOLDS, TOPOLOGY

from labctl.cli import cli
from labctl.drills.catalogue import DRILLS
from labctl.tour import lessons

ROOT = Path(__file__).resolve().parents[2]
GATEWAY = ROOT / "app" / "src" / "mosaic" / "gateway"
KINDS = ROOT / "app" / "src" / "mosaic" / "kinds"
MOST_WORDS = 40


def mapping(name: str) -> Any:
    """Return the mapping that a module exports; after its first line it is JSON."""
    text = (GATEWAY / "static" / name).read_text(encoding="utf-8")
    return json.loads(text[text.index("export default") + len("export default") :].strip().rstrip(";"))


TEXTS = mapping("help-texts.js")
COMMANDS = mapping("commands.js")


def headers(text: str) -> list[str]:
    """Return the labels of a template's columns and figures."""
    cells = re.findall(r'<th[ >].*?</th>|<dt[ >].*?</dt>|<h2[^>]*class="helpable".*?</h2>', text)
    return [re.sub(r"^.*?>|<.*?>", "", cell).strip() for cell in cells]


PAGES = [
    (file.stem, label) for file in GATEWAY.glob("templates/*.html") for label in headers(file.read_text())
]
#: Where scripts write the labels of figures, and on which page.
SCRIPTS = (
    ("lab", GATEWAY / "static" / "lab.js", r'(?:fact\(|\["|helped\()"?([A-Za-z][A-Za-z ]+)",? ?[,)\]]'),
    ("flow", GATEWAY / "static" / "flow.js", r'\["([a-z][a-z ]+)", (?!")'),
    ("job", GATEWAY / "static" / "follow.js", r'\["([a-z]+)", seconds'),
    ("job", KINDS / "primes" / "static" / "result.js", r'figure\(\["([^"]+)"\]'),
)
FIGURES = [
    (page, label)
    for page, file, pattern in SCRIPTS
    for label in re.findall(pattern, file.read_text(encoding="utf-8"))
]


def test_the_walk_finds_columns_and_figures() -> None:
    assert {("queues", "Ready"), ("jobs", "Progress"), ("periodic", "Next"), ("job", "Remark")} <= set(PAGES)
    assert {("lab", "Parts waiting"), ("lab", "memory"), ("lab", "answers in")} <= set(FIGURES)
    assert {("lab", "proxy sessions"), ("flow", "prefetch"), ("job", "Largest")} <= set(FIGURES)


@pytest.mark.parametrize(("page", "label"), sorted({*PAGES, *FIGURES}))
def test_every_column_and_figure_has_a_text(page: str, label: str) -> None:
    text = TEXTS.get(page, {}).get(label) or TEXTS["*"].get(label, "")
    assert text, f"help-texts.js has no text for {label!r} on the page {page!r}"


@pytest.mark.parametrize("page", TEXTS)
def test_texts_are_short_sentences_about_labels_that_exist(page: str) -> None:
    known = {label for where, label in (*PAGES, *FIGURES) if page in (where, "*")}
    assert set(TEXTS[page]) <= known
    for label, text in TEXTS[page].items():
        assert text.endswith("."), label
        assert len(text.split()) <= MOST_WORDS, label


@pytest.mark.parametrize("command", sorted({command for found in COMMANDS.values() for _, command in found}))
def test_commands_of_cards_exist(command: str) -> None:
    words = command.replace("{host}", "broker-1").split()
    assert words[0] == "./lab"
    assert CliRunner().invoke(cli, [words[1], "--help"]).exit_code == 0
    if words[1] == "drill":
        assert words[2] in {drill.name for drill in DRILLS}
    if words[1] == "tour":
        assert lessons.find((words[2],))


def test_parts_of_the_drawing_name_lessons_and_files_that_exist() -> None:
    known = {lesson.name for lesson in lessons.every()}
    assert {found.lesson for found in EXPLANATIONS.values()} <= known
    for kind, found in EXPLANATIONS.items():
        sentences = re.findall(r"[.!?](?= |$)", found.text)
        assert len(sentences) in (1, 2), kind
    assert (ROOT / TOPOLOGY).exists()
    for _, code in FOLDS.values():
        assert not code.startswith("app/") or (ROOT / code).exists()
