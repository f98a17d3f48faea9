"""A view becomes one part a tile."""

from __future__ import annotations

from mosaic.kinds.render.view import View
from mosaic.ledger.jobs import JobPlan, PlannedPart


def plan_render(view: View) -> JobPlan:
    """Return the plan of a picture."""
    parts = [PlannedPart("mosaic.render.tile", {}) for _ in range(view.tiles)]
    return JobPlan("render", view.params(), parts)
