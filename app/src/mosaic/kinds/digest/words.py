"""Counting words: a text is cut into shards between words, each is counted, the database adds the counts."""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections import Counter
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

# The characters of str.isspace in UTF-8.
SPACE = re.compile(
    rb"[\t-\r\x1c-\x20]|\xc2[\x85\xa0]|\xe1\x9a\x80|\xe2\x80[\x80-\x8a\xa8\xa9\xaf]"
    rb"|\xe2\x81\x9f|\xe3\x80\x80"
)
WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
TOP = 100


REPORT = text(
    """
    SELECT word, sum(times), sum(sum(times)) OVER (), count(*) OVER ()
    FROM part, LATERAL (SELECT key AS word, value::bigint AS times FROM jsonb_each_text(result)) AS counts
    WHERE job_id = :job AND NOT joins AND state = 'done'
    GROUP BY word
    ORDER BY sum(times) DESC, word COLLATE "C"
    LIMIT :top
    """
)


def shards(data: bytes, size: int) -> list[bytes]:
    """Cut a text in UTF-8 between words into shards of `size` bytes or more, which together are the text."""
    pieces = []
    start = 0
    while start < len(data):
        space = SPACE.search(data, start + size)
        end = space.start() if space else len(data)
        pieces.append(data[start:end])
        start = end
    return pieces


def count_words(text: str) -> Counter[str]:
    """Return how often each word occurs, ignoring case."""
    normal = unicodedata.normalize("NFC", text).casefold()
    return Counter(WORD.findall(normal))


def report(session: Session, job_id: uuid.UUID) -> dict[str, Any]:
    """Add the counts of a job's shards.

    Return the numbers of words and of different words, and the most frequent words with their counts.
    """
    rows = session.execute(REPORT, {"job": job_id, "top": TOP}).all()
    _, _, total, distinct = rows[0] if rows else ("", 0, 0, 0)
    return {
        "words": int(total),
        "distinct": distinct,
        "top": [[word, int(times)] for word, times, _, _ in rows],
    }
