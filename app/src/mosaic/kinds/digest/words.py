"""Counting words: a text is cut into shards between words, each shard is counted, the counts are merged."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping

WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
TOP = 100


def shards(text: str, size: int) -> list[str]:
    """Cut a text between words into shards of about `size` characters, which together are the text."""
    pieces = []
    start = 0
    while start < len(text):
        end = min(start + size, len(text))
        while end < len(text) and not text[end].isspace():
            end += 1
        pieces.append(text[start:end])
        start = end
    return pieces


def count_words(text: str) -> Counter[str]:
    """Return how often each word occurs, ignoring case."""
    normal = unicodedata.normalize("NFC", text).casefold()
    return Counter(WORD.findall(normal))


def merge(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    """Return the sum of counts."""
    total: Counter[str] = Counter()
    for part in counts:
        total.update(part)
    return total


def report(total: Counter[str]) -> dict[str, object]:
    """Return the numbers of words and of different words, and the most frequent words with their counts."""
    ranked = sorted(total.items(), key=lambda item: (-item[1], item[0]))
    return {"words": total.total(), "distinct": len(total), "top": [list(item) for item in ranked[:TOP]]}
