"""What the commands of a page refer to, checked without running them."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import click
from markdown_it import MarkdownIt

from labctl.cli import cli
from labctl.commands import run
from labctl.drills import catalogue
from labctl.errors import UsageError
from labctl.paths import ROOT
from labctl.testing import molecule

NOT_RUN = re.compile(r"<!-- not run by the tests: \S.* -->\s*")
ENDS = re.compile(r"[;&|()]+")
REDIRECTS = re.compile(r"[<>&]+")
HEREDOC = re.compile(r"<<-?\s*['\"]?(\w+)")
READERS = ("$EDITOR", "cat", "diff", "head", "less", "ls", "nano", "source", "tail", "vi", "vim", ".")
MAKERS = ("cp", "mkdir", "mv", "tee", "touch")
MADE_BY_LAB = (".lab", ".venv", ".vagrant")  # not in a fresh checkout


def blocks(text: str) -> Iterator[tuple[int, str]]:
    """Shell blocks of a page with their first line, without those that say why the tests do not run them."""
    before = ""
    for token in MarkdownIt("commonmark").parse(text):
        if token.type == "fence" and token.info.split()[:1] == ["sh"] and not NOT_RUN.fullmatch(before):
            yield (token.map[0] if token.map else 0) + 2, token.content
        before = token.content if token.type == "html_block" else ""


def commands(block: str) -> Iterator[list[str]]:
    """Words of each simple command; a redirection is a word of its own. Here-documents are left out."""
    lines = iter(block.replace("\\\n", " ").splitlines())
    for line in lines:
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.wordchars += "$%@:,{}!^"
        words: list[str] = []
        for word in lexer:
            if ENDS.fullmatch(word):
                yield words
                words = []
            else:
                words.append(word)
        yield words
        end = HEREDOC.search(line)
        if end:
            next(inner for inner in lines if inner.strip() == end[1])


def parse(arguments: Sequence[str]) -> None:
    """Parse the words behind ./lab by its own parser. Raises click's or the project's UsageError."""
    with patch.dict(os.environ):  # options set variables
        _parse(arguments)


def _parse(arguments: Sequence[str]) -> None:
    command: click.Command = cli
    context: click.Context | None = None
    rest = list(arguments)
    while True:
        try:
            context = command.make_context(command.name, rest, parent=context)
        except click.exceptions.Exit:  # --help
            return
        if not isinstance(command, click.Group):
            break
        _, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert found is not None
        command = found
    given = context.params
    match command.name:
        case "drill":
            for name in given["names"]:
                if name != catalogue.JOBS.name:
                    catalogue.find(name)
        case "run":
            run._find(ROOT / "playbooks", given["playbook"])
        case "test":
            molecule.chosen(given["scenarios"])


@dataclass
class Page:
    """Reads the blocks of one page in their order; `made` are the paths that its commands create."""

    root: Path
    made: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def read(self, text: str) -> list[str]:
        """What is wrong, as `line: words: reason`, the line being the first of the block."""
        for line, block in blocks(text):
            folder: Path | None = self.root
            for words in commands(block):
                if "./lab" in words:
                    self._lab(line, words[words.index("./lab") + 1 :])
                if words[:1] == ["cd"]:
                    folder = self._inside(folder, words[1]) if len(words) > 1 else None
                elif folder:
                    self._files(line, words, folder)
        return self.problems

    def _lab(self, line: int, words: list[str]) -> None:
        end = next((index for index, word in enumerate(words) if REDIRECTS.fullmatch(word)), len(words))
        try:
            parse(words[:end])
        except (click.UsageError, UsageError) as error:
            reason = error.format_message() if isinstance(error, click.UsageError) else str(error)
            self.problems.append(f"{line}: ./lab {' '.join(words)}: {reason}")

    def _inside(self, folder: Path | None, name: str) -> Path | None:
        inner = (folder / name).resolve() if folder else None
        return inner if inner and inner.is_relative_to(self.root) and inner.is_dir() else None

    def _files(self, line: int, words: list[str], folder: Path) -> None:
        program = words[0] if words else ""
        names = [word for word in words[1:] if not word.startswith("-")]
        new = names[-1:] if program in ("cp", "mv") else names if program in MAKERS else []
        new += [after for word, after in pairwise(words) if word in (">", ">>")]
        values = [word.partition("=")[2] for word in words if "=" in word]  # of variables and options
        top = {path.name for path in folder.iterdir()}
        for name in (*names, *values):
            read = program in READERS + MAKERS and name in names
            named = read or ("/" in name and name.split("/")[0] in top)
            if named and name not in new and not self._exists(name, folder):
                self.problems.append(f"{line}: {' '.join(words)}: {name} does not exist")
        self.made += [folder / name for name in new]

    def _exists(self, name: str, folder: Path) -> bool:
        """Whether it is there, is created by ./lab or an earlier command, or is outside of the checkout."""
        elsewhere = (
            name.startswith(("/", "~", "..", *MADE_BY_LAB)) or "$" in name or REDIRECTS.fullmatch(name)
        )
        path = folder / name
        return bool(
            elsewhere
            or any(path == made or path.is_relative_to(made) for made in self.made)
            or (any(folder.glob(name)) if set(name) & set("*?[") else path.exists())
        )
