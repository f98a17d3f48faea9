"""The limits of a rendering. A view becomes one part for each tile."""

from __future__ import annotations

import math
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mosaic.kinds.render.view import View
from mosaic.ledger.jobs import JobPlan, PlannedPart

DEFAULT_WIDTH_UNITS = 3.2
# The width at zoom 1.
UNZOOMED_WIDTH_UNITS = 4.0
MAX_TILES = 4096
MAX_EDGE = 8192
MAX_PIXELS = 32_000_000
MAX_TILE_WORK = 1_000_000_000


class RenderRequest(BaseModel):
    """A view of the Mandelbrot set; give `width_units` or `zoom`, or neither."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    center_x: float = Field(default=-0.6, ge=-4, le=4)
    center_y: float = Field(default=0.0, ge=-4, le=4)
    width_units: float | None = Field(default=None, gt=0, le=16)
    zoom: float | None = Field(default=None, gt=0)
    width: int = Field(default=1280, ge=16, le=MAX_EDGE)
    height: int = Field(default=896, ge=16, le=MAX_EDGE)
    tile: int = Field(default=64, ge=16, le=512)
    iterations: int = Field(default=400, ge=1, le=20_000)

    @model_validator(mode="after")
    def check_view(self) -> Self:
        """Check limits that depend on several fields."""
        if self.width_units is not None and self.zoom is not None:
            raise ValueError("give width_units or zoom, not both.")
        view = self.view()
        if view.width * view.height > MAX_PIXELS:
            raise ValueError(
                f"the picture would have {view.width * view.height / 1e6:.0f} megapixels; "
                f"at most {MAX_PIXELS / 1e6:.0f} are possible."
            )
        if view.tiles > MAX_TILES:
            raise ValueError(f"the picture would have {view.tiles} tiles; at most {MAX_TILES} are possible.")
        if view.tile**2 * view.iterations > MAX_TILE_WORK:
            raise ValueError("a tile would take too long: lower tile or iterations.")
        if view.width_units > 16:
            raise ValueError("zoom is too small: the view would be wider than 16 units.")
        if view.too_deep():
            raise ValueError("the zoom is too deep: neighbouring pixels would be the same 64-bit number.")
        return self

    def view(self) -> View:
        """Return the requested view."""
        units = self.width_units
        if units is None:
            units = DEFAULT_WIDTH_UNITS if self.zoom is None else UNZOOMED_WIDTH_UNITS / self.zoom
        if not math.isfinite(units) or units <= 0:
            raise ValueError("the zoom is too deep: the view would have no width.")
        return View(self.center_x, self.center_y, units, self.width, self.height, self.tile, self.iterations)


def plan(request: RenderRequest) -> JobPlan:
    """Return the plan of a picture."""
    view = request.view()
    return JobPlan("render", view.params(), [PlannedPart("mosaic.render.tile", {})] * view.tiles)
