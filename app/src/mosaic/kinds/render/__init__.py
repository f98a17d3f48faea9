"""Rendering: a view of the Mandelbrot set, one part a tile."""

from __future__ import annotations

from mosaic.kinds.kind import Kind
from mosaic.kinds.render.presets import PRESETS

KIND = Kind(
    name="render",
    summary="Render a view of the Mandelbrot set, one part a tile.",
    routing_key="render",
    has_result=False,
    picture="assemble",
    picture_role="tile",
    caption="{width} × {height}",
    form_values={"presets": PRESETS},
)
