"""Linter: every link of a Markdown page to a file, a heading or an image of this project leads somewhere."""

import re
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.token import Token

from labctl.paths import ROOT

_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//")
_HTML = re.compile(r"""<[^>]+\b(?:src|href)=["']([^"']+)""")


@cache
def _tokens(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Names of the headings, as GitHub and GitLab make them."""
    seen: Counter[str] = Counter()
    found = set()
    for opened, title in pairwise(_tokens(page)):
        if opened.type == "heading_open":
            text = "".join(part.content for part in title.children or []).strip().lower()
            name = re.sub(r"[^\w -]", "", text).replace(" ", "-")
            found.add(f"{name}-{seen[name]}" if seen[name] else name)
            seen[name] += 1
    return found


def targets(page: Path) -> Iterator[tuple[int, str]]:
    """Each link and image of the page with its line."""
    for token in _tokens(page):
        for part in (token, *(token.children or [])):
            html = _HTML.findall(part.content) if part.type.startswith("html_") else []
            for target in (part.attrGet("href"), part.attrGet("src"), *html):
                if target:
                    yield token.map[0] + 1 if token.map else 0, unquote(str(target))


def problems(page: Path, root: Path = ROOT) -> Iterator[str]:
    """What is wrong on the page, as `page:line: target: reason`. Links to other sites are not followed."""
    for line, target in targets(page):
        name, _, anchor = target.partition("#")
        file = root / name[1:] if name.startswith("/") else page.parent / name if name else page
        reason = "" if file.exists() else "there is no such file"
        if anchor and file.suffix == ".md" and file.exists() and anchor not in anchors(file):
            reason = "there is no such heading"
        if reason and not _ELSEWHERE.match(target):
            yield f"{page.relative_to(root)}:{line}: {target}: {reason}"


def main() -> int:
    """Check every page of the project; exit status 1 when a link is broken."""
    pages = sorted({*ROOT.glob("*.md"), *ROOT.glob("[!.]*/**/*.md")})
    found = [problem for page in pages for problem in problems(page)]
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
