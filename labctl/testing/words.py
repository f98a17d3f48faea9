"""Linter: finds words to avoid, and shows what to write instead. .config/words-to-avoid.txt lists both."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from labctl.paths import ROOT

LIST = ROOT / ".config" / "words-to-avoid.txt"
SUFFIXES = (".cfg", ".html", ".in", ".j2", ".js", ".md", ".py", ".toml", ".yml", "")
_BETWEEN = r"(?:\s|[#*\"'])+"  # two words of a phrase may be on two lines of a comment or of a string
Advice = dict[re.Pattern[str], str]  # what to write instead
Allowed = set[tuple[str, str]]  # file, and words in lower case


def read(text: str) -> tuple[Advice, Allowed]:
    """Parse the list. Raises ValueError for a line of another form, as one without a reason."""
    instead, allowed = {}, set()
    for line in (line.strip() for line in text.splitlines()):
        phrase, arrow, advice = line.partition(" -> ")
        if exception := re.fullmatch(r"allow (\S+): (.+?): (.+)", line):
            allowed.add((exception[1], exception[2].lower()))
        elif arrow:
            instead[re.compile(rf"\b(?:{phrase.replace(' ', _BETWEEN)})\b", re.IGNORECASE)] = advice
        elif line and not line.startswith("#"):
            raise ValueError(f"neither `phrase -> instead` nor `allow FILE: words: reason`: {line}")
    return instead, allowed


def findings(name: str, text: str, instead: Advice, allowed: Allowed) -> Iterator[str]:
    """What to change in a file, as `name:line: words -> instead`."""
    for pattern, advice in instead.items():
        for match in pattern.finditer(text):
            words = " ".join(re.split(_BETWEEN, match[0])).lower()
            if (name, words) not in allowed:
                yield f"{name}:{text[: match.start()].count(chr(10)) + 1}: {words} -> {advice}"


def main(paths: list[str]) -> int:
    """Check these files and folders; exit status 1 when something was found."""
    instead, allowed = read(LIST.read_text(encoding="utf-8"))
    found: list[str] = []
    for file in sorted(file for path in paths for file in (ROOT / path, *Path(ROOT, path).rglob("*"))):
        if file.is_file() and file.suffix in SUFFIXES:
            text = file.read_text(encoding="utf-8", errors="replace")
            found += findings(file.relative_to(ROOT).as_posix(), text, instead, allowed)
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
