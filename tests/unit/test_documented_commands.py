"""Commands of the pages that people follow: the parser takes them, and the files that they name exist."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from labctl.errors import UsageError
from labctl.paths import ROOT
from tests.unit.documented import Page, blocks, commands, parse

FOLDERS = ("docs/how-to", "docs/tutorial", "examples/*")
PAGES = [ROOT / "README.md", *(page for folder in FOLDERS for page in sorted(ROOT.glob(f"{folder}/*.md")))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_of_a_page_are_right(page: Path) -> None:
    assert Page(ROOT).read(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "up --no-demo",
        "--inventory inventories/cloud up",
        "drill kill-worker jobs --rounds 5",
        "drill --soak 50 --seed 7",
        "logs haproxy -n 20",
        "shell worker-1 systemctl --failed",
        "run site.yml --limit workers",
        "box build docker",
        "test --role pki --keep",
        "--help",
        "up --help",
    ],
)
def test_good_command_lines_parse(line: str) -> None:
    parse(line.split())


@pytest.mark.parametrize(
    "line",
    [
        "frobnicate",
        "up --fast",
        "drill no-such-drill",
        "drill --profile none",
        "run no-such-playbook",
        "test --role base",
        "box build kvm",
        "shell",
    ],
)
def test_wrong_command_lines_are_refused(line: str) -> None:
    with pytest.raises((click.UsageError, UsageError)):
        parse(line.split())


TEXT = """
```sh
first
```

<!-- not run by the tests: it needs a cloud -->

```sh
second
```

<!-- not run by the tests: -->

```sh
third  # without a reason
```

```yaml
no: shell
```

1. a list

   ```sh
   fourth
   ```
"""


def test_blocks_of_shell_are_found_unless_they_say_why_not() -> None:
    assert [(line, text.split()[0]) for line, text in blocks(TEXT)] == [
        (3, "first"),
        (15, "third"),
        (25, "fourth"),
    ]


def test_commands_are_split_as_a_shell_does() -> None:
    block = """A=1 ./lab up && ./lab status --json | jq '.a | b' > out.json  # words
cat > x <<'END'
./lab no
END
a \\
 b
"""
    assert [words for words in commands(block) if words] == [
        ["A=1", "./lab", "up"],
        ["./lab", "status", "--json"],
        ["jq", ".a | b", ">", "out.json"],
        ["cat", ">", "x", "<<", "END"],
        ["a", "b"],
    ]


def problems(*lines: str, root: Path) -> list[str]:
    return [problem.rpartition(": ")[2] for problem in Page(root).read("\n".join(["```sh", *lines, "```"]))]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with inventories/cloud/hosts.yml."""
    (tmp_path / "inventories" / "cloud").mkdir(parents=True)
    (tmp_path / "inventories" / "cloud" / "hosts.yml").touch()
    return tmp_path


@pytest.mark.parametrize(
    "line",
    [
        "cat inventories/none.yml",
        "$EDITOR inventories/cloud/none.yml",
        "cp inventories/none inventories/mine",
        "LAB_NAME=x ./lab --inventory inventories/none up",
        "LAB_TOPOLOGY=inventories/none.yml ./lab up",
        "ansible-playbook --inventory=inventories/none site.yml",
        "ls inventories/*.none",
        "cd inventories && cat cloud/none.yml",
        "./lab status --jason",
    ],
)
def test_what_does_not_exist_is_found(checkout: Path, line: str) -> None:
    assert len(problems(line, root=checkout)) == 1


@pytest.mark.parametrize(
    "line",
    [
        "cat inventories/cloud/hosts.yml",
        "ls inventories/*/hosts.yml .lab/warren/logs ~/.ssh /etc/hosts",
        "cp -r inventories/cloud inventories/mine; $EDITOR inventories/mine/hosts.yml",
        "./lab status --json > status.json; cat status.json",
        "mkdir -p new; ls new",
        "cd /srv && cat anything",
        "cd inventories && cat cloud/hosts.yml",
        "curl -O https://example.com/inventories/none",
    ],
)
def test_what_exists_or_is_made_before_is_right(checkout: Path, line: str) -> None:
    assert problems(line, root=checkout) == []
