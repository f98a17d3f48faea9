"""A text becomes one part a shard, and one for the merge."""

from __future__ import annotations

from mosaic.kinds.digest import words
from mosaic.ledger.jobs import JobPlan, PlannedBlob, PlannedPart

SHARD_CHARACTERS = 256 * 1024
MAX_SHARDS = 64
MIN_SHARDS = 6


def plan_digest(text: str) -> JobPlan:
    """Return the plan of a word count: enough shards for several hosts, not too many to merge."""
    size = min(SHARD_CHARACTERS, max(1, len(text) // MIN_SHARDS))
    size = max(size, len(text) // MAX_SHARDS)
    pieces = words.shards(text, size)
    parts = [PlannedPart("mosaic.digest.shard", {}) for _ in pieces]
    parts.append(PlannedPart("mosaic.digest.merge", {}, joins=True))
    blobs = [
        PlannedBlob("text", index, "text/plain; charset=utf-8", piece.encode())
        for index, piece in enumerate(pieces)
    ]
    return JobPlan("digest", {"characters": len(text), "shards": len(pieces)}, parts, blobs)
