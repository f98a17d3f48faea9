"""Code that a lesson quotes is in the file that the lesson names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from labctl.paths import ROOT

LANGUAGES = ("js", "python")
PAGES = sorted(ROOT.glob("docs/tutorial/*.md"))
QUOTED = ROOT / "docs" / "tutorial" / "what-happens-when-you-press-render.md"


def quotes(text: str, root: Path = ROOT) -> Iterator[tuple[int, Path, list[str]]]:
    """Yield each block of code that quotes a file: line of the block, file, lines of code.

    The last line of text above such a block names the file. A block without such a line is the reader's own.
    """
    lines = text.splitlines()
    for token in MarkdownIt("commonmark").parse(text):
        if token.type == "fence" and token.info.split()[:1] and token.info.split()[0] in LANGUAGES:
            start = token.map[0] if token.map else 0
            above = next((line for line in reversed(lines[:start]) if line.strip()), "")
            files = [root / name for name in re.findall(r"`([^`]+)`", above) if (root / name).is_file()]
            if files:
                yield start + 1, files[-1], _code(token.content)


def _code(text: str) -> list[str]:
    """Lines without their indentation; blank ones and those with an ellipsis are left out."""
    return [line.strip() for line in text.splitlines() if line.strip() and "..." not in line]


def invented(text: str, root: Path = ROOT) -> list[str]:
    """Return the quoted lines that are not in their file, as `line of the block: file: code`."""
    return [
        f"{start}: {file.relative_to(root).as_posix()}: {line}"
        for start, file, code in quotes(text, root)
        for line in code
        if line not in {one.strip() for one in file.read_text(encoding="utf-8").splitlines()}
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_quoted_code_is_in_the_file_that_the_page_names(page: Path) -> None:
    assert invented(page.read_text(encoding="utf-8")) == []


def test_every_block_of_code_of_the_lesson_that_quotes_names_its_file() -> None:
    text = QUOTED.read_text(encoding="utf-8")
    blocks = len(re.findall(rf"^```(?:{'|'.join(LANGUAGES)})$", text, re.MULTILINE))
    assert blocks == len(list(quotes(text))) > 0


PAGE = """
`app/one.py`:

```python
def one() -> int:
    ...
    return 1

    return 2
```

The reader writes this, although `app/one.py` is named further up.
It is the line above that counts:

```python
return 3
```

1. Two files, `app/none.py` and `app/one.py`:

   ```python
   return 4
   ```

`app/one.py`:

```sh
return 5
```
"""


def test_a_line_that_is_not_in_the_named_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "one.py").write_text('def one() -> int:\n    """One."""\n    return 1\n')
    assert invented(PAGE, tmp_path) == ["4: app/one.py: return 2", "21: app/one.py: return 4"]
