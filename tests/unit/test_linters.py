"""What the project's own linters find, and what they leave alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from labctl.paths import ROOT
from labctl.testing import links, linters, words

LIST = """
# a comment
of (no )?yore -> old
ghosts? -> port
allow a.py: ghosts: the name of a film
"""


def found(text: str, name: str = "b.py") -> list[str]:
    return list(words.findings(name, text, *words.read(LIST)))


@pytest.mark.parametrize(
    ("text", "line", "phrase"),
    [
        ("A broker of yore.", 1, "of yore"),
        ("one\nOf no yore.", 2, "of no yore"),
        ("# It is of\n# yore to none.", 1, "of yore"),
        ('f("It is of "\n  "yore")', 1, "of yore"),
        ("The Ghosts.", 1, "ghosts"),
    ],
)
def test_words_to_avoid_are_found_also_across_lines(text: str, line: int, phrase: str) -> None:
    ((finding),) = found(text)
    assert finding.startswith(f"b.py:{line}: {phrase} -> ")


@pytest.mark.parametrize("text", ["proof yored", "of yoreful", "unghosts", "of.yore"])
def test_other_words_are_not(text: str) -> None:
    assert found(text) == []


def test_an_exception_is_for_its_words_in_its_file() -> None:
    assert found("Ghosts", "a.py") == []
    assert found("Ghost", "a.py") != []


@pytest.mark.parametrize("line", ["allow a.py: ghosts", "allow a.py: ghosts:", "of yore", "of yore ->"])
def test_a_line_without_reason_or_advice_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        words.read(line)


def test_the_list_itself_is_well_formed_and_its_exceptions_are_needed() -> None:
    instead, allowed = words.read(words.LIST.read_text(encoding="utf-8"))
    assert len(instead) > 20
    for name, phrase in allowed:
        text = (ROOT / name).read_text(encoding="utf-8")
        there = "\n".join(words.findings(name, text, instead, set()))
        assert f": {phrase} -> " in there, f"{name} has no {phrase!r}"


def test_the_words_linter_reads_files_and_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "list").write_text(LIST, encoding="utf-8")
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "folder" / "deep" / "x.md").write_text("of yore", encoding="utf-8")
    (tmp_path / "picture.png").write_bytes(b"of yore")
    monkeypatch.setattr(words, "ROOT", tmp_path)
    monkeypatch.setattr(words, "LIST", tmp_path / "list")
    assert words.main(["picture.png"]) == 0
    assert words.main(["folder", "picture.png"]) == 1
    assert "folder/deep/x.md:1: of yore -> old" in capsys.readouterr().out


PAGE = """# The first: a *title* with `code_x`

## Twice
## Twice

    # not a heading

[ok](other.md) [ok](#twice-1) [ok](#the-first-a-title-with-code_x) [ok](sub/) [ok](/other.md#b)
<a href="other.md"> [out](https://example.com/none) `[code](none.md)` ![ok](a%20b.png)

| a | b |
| --- | --- |
| [bad](gone.md) | ![bad](gone.png) |

[bad](#not-a-heading) [bad](other.md#gone)
<img src="gone.svg">

[ref]: gone-too.md
See [ref].
"""


def test_broken_links_anchors_and_images_are_found(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(PAGE, encoding="utf-8")
    (tmp_path / "other.md").write_text("# B\n", encoding="utf-8")
    (tmp_path / "sub").mkdir()
    (tmp_path / "a b.png").touch()
    assert list(links.problems(tmp_path / "page.md", tmp_path)) == [
        "page.md:13: gone.md: there is no such file",
        "page.md:13: gone.png: there is no such file",
        "page.md:15: #not-a-heading: there is no such heading",
        "page.md:15: other.md#gone: there is no such heading",
        "page.md:15: gone.svg: there is no such file",
        "page.md:19: gone-too.md: there is no such file",
    ]


def test_every_page_of_the_project_is_checked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / ".venv").mkdir()
    for name in ("README.md", "docs/a.md", ".venv/b.md"):
        (tmp_path / name).write_text("[x](gone)", encoding="utf-8")
    monkeypatch.setattr(links, "ROOT", tmp_path)
    monkeypatch.setattr(links.problems, "__defaults__", (tmp_path,))
    assert links.main() == 1
    assert re.findall(r"^(\S+):1:", capsys.readouterr().out, re.MULTILINE) == ["README.md", "docs/a.md"]


def test_linters_are_given_files_that_exist() -> None:
    commands = linters.commands()
    assert {"codespell", "words", "links", "github-ci", "gitlab-ci"} <= set(commands)
    for name, (_, *arguments) in commands.items():
        for argument in arguments:
            if "/" in argument and not argument.startswith("-"):
                assert (ROOT / argument).exists(), f"{name}: {argument}"
