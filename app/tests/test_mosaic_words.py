"""Word counts: the shards do not change the result."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from mosaic.kinds.digest.plan import MAX_SHARDS, plan
from mosaic.kinds.digest.words import count_words, merge, report, shards

TEXT = "The quick brown fox. The lazy dog's bone; Straße STRASSE!\nnaïve na\u0131ve don\u2019t 42 x_y\t" * 50


@pytest.mark.parametrize("size", [1, 7, 100, 10_000, 10**9])
def test_merged_shards_equal_the_whole(size: int) -> None:
    pieces = shards(TEXT, size)
    assert "".join(pieces) == TEXT
    assert merge(count_words(piece) for piece in pieces) == count_words(TEXT)


def test_shards_of_random_texts_cut_no_word() -> None:
    source = random.Random(7)
    for _ in range(50):
        text = "".join(source.choice("ab \n.é") for _ in range(source.randint(0, 200)))
        assert merge(map(count_words, shards(text, source.randint(1, 20)))) == count_words(text)


def test_words_are_counted_without_case() -> None:
    assert count_words("Straße STRASSE strasse") == Counter({"strasse": 3})
    assert count_words("don't DON'T dogs'") == Counter({"don't": 2, "dogs": 1})
    assert count_words("42 -- ... ") == Counter()


def test_report_breaks_ties_by_alphabet() -> None:
    assert report(Counter({"b": 2, "a": 2, "c": 5})) == {
        "words": 9,
        "distinct": 3,
        "top": [["c", 5], ["a", 2], ["b", 2]],
    }


@pytest.mark.parametrize("length", [1, 10, 10_000, 5_000_000])
def test_plan_has_shards_for_several_hosts_but_not_too_many(length: int) -> None:
    planned = plan(("word " * (length // 5 + 1))[:length])
    assert 1 <= len(planned.parts) - 1 <= MAX_SHARDS + 1
    assert [part.joins for part in planned.parts] == [False] * (len(planned.parts) - 1) + [True]
    assert b"".join(blob.data for blob in planned.blobs).decode() == ("word " * (length // 5 + 1))[:length]
    if length >= 10_000:
        assert len(planned.parts) >= 6
