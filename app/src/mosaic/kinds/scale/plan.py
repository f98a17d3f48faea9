"""An uploaded picture becomes one part for each size, and one part for the contact sheet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import File, Form, UploadFile

from mosaic.kinds.kind import RequestError
from mosaic.kinds.scale import DEFAULT_SIZES, pictures
from mosaic.ledger.jobs import JobPlan, PlannedBlob, PlannedPart

MAX_SIZES = 12
MAX_SIZE_EDGE = 4096


def plan(file: Annotated[UploadFile, File()], sizes: Annotated[str, Form()] = "") -> JobPlan:
    """Return the plan of a scaling to squares of `sizes` pixels. Raises RequestError."""
    data = file.file.read()
    try:
        edges = parse_sizes(sizes)
        kind = pictures.check_picture(data, max(edges))
    except ValueError as error:
        raise RequestError(str(error)) from None
    return job_plan(data, f"image/{kind.lower()}", edges)


def job_plan(data: bytes, content_type: str, edges: Sequence[int]) -> JobPlan:
    """Return the plan of a scaling of a checked picture."""
    parts = [PlannedPart("mosaic.scale.size", {"edge": edge}) for edge in edges]
    parts.append(PlannedPart("mosaic.scale.sheet", {}, joins=True))
    return JobPlan(
        "scale",
        {"sizes": list(edges), "bytes": len(data)},
        parts,
        [PlannedBlob("source", 0, content_type, data)],
    )


def parse_sizes(text: str) -> tuple[int, ...]:
    """Return edge lengths from a comma-separated list; the default if there is none. Raises ValueError."""
    if not text.strip():
        return DEFAULT_SIZES
    items = [item.strip() for item in text.rstrip(", ").split(",")]
    if len(items) > MAX_SIZES:
        raise ValueError(f"{len(items)} sizes were requested; at most {MAX_SIZES} are possible.")
    edges = []
    for item in items:
        if not item.isascii() or not item.isdigit() or len(item) > 6 or not 1 <= int(item) <= MAX_SIZE_EDGE:
            raise ValueError(f"sizes must be whole numbers from 1 to {MAX_SIZE_EDGE}, separated by commas.")
        edges.append(int(item))
    return tuple(dict.fromkeys(edges))
