"""An uploaded picture becomes one part a size, and one for the contact sheet."""

from __future__ import annotations

from collections.abc import Sequence

from mosaic.ledger.jobs import JobPlan, PlannedBlob, PlannedPart


def plan_scale(data: bytes, content_type: str, edges: Sequence[int]) -> JobPlan:
    """Return the plan of a scaling to squares of `edges` pixels."""
    parts = [PlannedPart("mosaic.scale.size", {"edge": edge}) for edge in edges]
    parts.append(PlannedPart("mosaic.scale.sheet", {}, joins=True))
    return JobPlan(
        "scale",
        {"sizes": list(edges), "bytes": len(data)},
        parts,
        [PlannedBlob("source", 0, content_type, data)],
        first_task="mosaic.scale.fan_out",
    )
