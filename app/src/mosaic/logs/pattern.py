"""Binding patterns of topic exchanges: words between dots, `*` for exactly one word, `#` for any number."""

from __future__ import annotations

import itertools
import re

WORD = re.compile(r"[A-Za-z0-9_-]+")
MAX_LENGTH = 200


def check_pattern(pattern: str) -> str:
    """Return the pattern. Raises ValueError with a sentence if it is not valid."""
    words = pattern.split(".")
    if len(pattern) > MAX_LENGTH or not all(word in ("*", "#") or WORD.fullmatch(word) for word in words):
        raise ValueError(
            f"{pattern[:40]!r} is no binding pattern: write words between dots, * for one word, # for any."
        )
    return pattern


def matches(pattern: str, key: str) -> bool:
    """Return whether a topic exchange routes `key` to a binding with this pattern."""
    # Several # in a row mean the same as one, but would multiply the attempts below.
    words = [
        word for before, word in itertools.pairwise(["", *pattern.split(".")]) if (before, word) != ("#", "#")
    ]
    return _matches(words, key.split(".") if key else [])


def _matches(pattern: list[str], words: list[str]) -> bool:
    if not pattern:
        return not words
    first, rest = pattern[0], pattern[1:]
    if first == "#":
        return any(_matches(rest, words[start:]) for start in range(len(words) + 1))
    return bool(words) and first in ("*", words[0]) and _matches(rest, words[1:])
