"""Commands of the how-to and tutorial pages that only read, run on the lab as a reader runs them."""

from __future__ import annotations

import shlex

import pytest

from tests.lab.commands import ROOT, UserLab
from tests.unit.documented import blocks, commands

PAGES = sorted([*(ROOT / "docs" / "how-to").glob("*.md"), *(ROOT / "docs" / "tutorial").glob("*.md")])
READING = ("logs", "open", "shell", "status")
OTHERS = "shop"  # an application that this lab does not have


def reading() -> list[str]:
    """Each such command once, without `./lab`."""
    found = set()
    for page in PAGES:
        for _, block in blocks(page.read_text(encoding="utf-8")):
            for words in commands(block):
                if words[:1] == ["./lab"] and (words[1] in READING or words[1:3] == ["drill", "--list"]):
                    found.add(shlex.join(words[1:]))
    return sorted(command for command in found if OTHERS not in command)


@pytest.mark.parametrize("command", reading())
def test_command_of_a_page_works(lab: UserLab, command: str) -> None:
    done = lab.run(*shlex.split(command))
    assert done.status == 0, str(done)
    assert done.out.strip()
