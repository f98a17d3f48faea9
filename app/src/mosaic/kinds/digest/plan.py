"""A text becomes one part for each shard, and one part that merges the counts."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from mosaic.kinds.digest import words
from mosaic.kinds.kind import RequestError
from mosaic.ledger.jobs import JobPlan, PlannedBlob, PlannedPart

SHARD_CHARACTERS = 256 * 1024
MAX_SHARDS = 64
MIN_SHARDS = 6


async def text_body(request: Request) -> str:
    """Return the body as text. Raises RequestError if it is not text/plain, not UTF-8, or empty."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "text/plain":
        raise RequestError("send the text as text/plain in UTF-8.", 415)
    try:
        text = (await request.body()).decode("utf-8")
    except UnicodeDecodeError as error:
        raise RequestError(f"the text is not UTF-8 (byte {error.start}).") from None
    if not text.strip():
        raise RequestError("the text is empty.")
    return text


def plan(text: Annotated[str, Depends(text_body)]) -> JobPlan:
    """Return the plan of a word count: enough shards for several hosts, but not too many to merge."""
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
