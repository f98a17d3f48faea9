"""A text becomes one part for each shard, and one part that merges the counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import Depends, Request

from mosaic.kinds.digest import words
from mosaic.kinds.kind import RequestError
from mosaic.ledger.jobs import JobPlan, PlannedBlob, PlannedPart

SHARD_BYTES = 256 * 1024
MAX_SHARDS = 64
MIN_SHARDS = 6
# A shard ends at the next space. Counting a shard needs about 60 times its size.
MAX_UNBROKEN_BYTES = 256 * 1024


async def text_body(request: Request) -> bytes:
    """Return the body. Raises RequestError if it is not text/plain."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "text/plain":
        raise RequestError("send the text as text/plain in UTF-8.", 415)
    return await request.body()


def plan(text: Annotated[bytes, Depends(text_body)]) -> JobPlan:
    """Return the plan of a word count: enough shards for several hosts, but not too many to merge.

    Raises RequestError if the text is not UTF-8, is empty, or cannot be cut into shards.
    """
    size = min(SHARD_BYTES, max(1, len(text) // MIN_SHARDS))
    size = max(size, len(text) // MAX_SHARDS)
    pieces = words.shards(text, size)
    characters = _characters(pieces, size)
    parts = [PlannedPart("mosaic.digest.shard", {}) for _ in pieces]
    parts.append(PlannedPart("mosaic.digest.merge", {}, joins=True))
    blobs = [
        PlannedBlob("text", index, "text/plain; charset=utf-8", piece) for index, piece in enumerate(pieces)
    ]
    return JobPlan("digest", {"characters": characters, "shards": len(pieces)}, parts, blobs)


def _characters(pieces: Sequence[bytes], size: int) -> int:
    """Check shards of a text and return the number of its characters. Raises RequestError."""
    characters = place = 0
    is_empty = True
    for piece in pieces:
        try:
            text = piece.decode()
        except UnicodeDecodeError as error:
            raise RequestError(f"the text is not UTF-8 (byte {place + error.start}).") from None
        if len(piece) > size + MAX_UNBROKEN_BYTES:
            raise RequestError(
                f"the text has {len(piece) // 1024} KiB without a space; at most "
                f"{(size + MAX_UNBROKEN_BYTES) // 1024} KiB can be counted at once: break it into lines."
            )
        characters += len(text)
        place += len(piece)
        is_empty = is_empty and text.isspace()
    if is_empty:
        raise RequestError("the text is empty.")
    return characters
