"""Word counts: the shards do not change the result."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from mosaic.config import Config
from mosaic.kinds.digest.plan import MAX_SHARDS, plan
from mosaic.kinds.digest.words import SPACE, count_words, report, shards
from mosaic.kinds.kind import RequestError
from mosaic.ledger import jobs
from mosaic.ledger.database import transaction
from mosaic.ledger.jobs import JobPlan, PlannedPart
from mosaic.ledger.models import Part
from sqlalchemy import update

TEXT = "The quick brown fox. The lazy dog's bone; Straße STRASSE!\nnaïve na\u0131ve don\u2019t 42 x_y\t" * 50


def counted(pieces: Sequence[bytes]) -> Counter[str]:
    """Return the sum of the counts of the pieces."""
    total: Counter[str] = Counter()
    for piece in pieces:
        total.update(count_words(piece.decode()))
    return total


@pytest.mark.parametrize("size", [1, 7, 100, 10_000, 10**9])
def test_merged_shards_equal_the_whole(size: int) -> None:
    pieces = shards(TEXT.encode(), size)
    assert b"".join(pieces) == TEXT.encode()
    assert counted(pieces) == count_words(TEXT)


def test_shards_of_random_texts_cut_no_word() -> None:
    source = random.Random(7)
    for _ in range(50):
        text = "".join(source.choice("ab \n.é\u3000") for _ in range(source.randint(0, 200)))
        assert counted(shards(text.encode(), source.randint(1, 20))) == count_words(text)


def test_a_text_is_cut_at_every_space() -> None:
    every = [chr(code) for code in range(0x11000) if not 0xD800 <= code <= 0xDFFF]
    for one in every:
        assert bool(SPACE.search(one.encode())) == one.isspace(), hex(ord(one))


def test_words_are_counted_without_case() -> None:
    assert count_words("Straße STRASSE strasse") == Counter({"strasse": 3})
    assert count_words("don't DON'T dogs'") == Counter({"don't": 2, "dogs": 1})
    assert count_words("42 -- ... ") == Counter()


def reported(counts: Sequence[Mapping[str, int]]) -> dict[str, Any]:
    """Return the report of a job whose shards have these counts."""
    parts = [PlannedPart("mosaic.digest.shard", {}) for _ in counts]
    with transaction() as session:
        job, _ = jobs.enter(session, JobPlan("digest", {}, parts))
        for index, count in enumerate(counts):
            done = update(Part).where(Part.job_id == job, Part.index == index)
            session.execute(done.values(state="done", result=dict(count)))
        return report(session, job)


def test_report_adds_shards_and_breaks_ties_by_alphabet(config: Config) -> None:
    assert reported([{"b": 2, "é": 2, "c": 2}, {"a": 1, "c": 3}, {"a": 1, "z": 2}]) == {
        "words": 13,
        "distinct": 5,
        "top": [["c", 5], ["a", 2], ["b", 2], ["z", 2], ["é", 2]],
    }


def test_report_of_no_words(config: Config) -> None:
    assert reported([{}, {}]) == {"words": 0, "distinct": 0, "top": []}


@pytest.mark.parametrize("length", [1, 10, 10_000, 5_000_000])
def test_plan_has_shards_for_several_hosts_but_not_too_many(length: int) -> None:
    text = ("word " * (length // 5 + 1))[:length].encode()
    planned = plan(text)
    assert 1 <= len(planned.parts) - 1 <= MAX_SHARDS + 1
    assert [part.joins for part in planned.parts] == [False] * (len(planned.parts) - 1) + [True]
    assert b"".join(blob.data for blob in planned.blobs) == text
    assert planned.params["characters"] == length
    if length >= 10_000:
        assert len(planned.parts) >= 6


def test_text_without_a_space_is_refused() -> None:
    with pytest.raises(RequestError, match=r"KiB without a space; at most .* break it into lines"):
        plan(b"a" * 2_000_000)
