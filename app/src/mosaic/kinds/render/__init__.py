"""Rendering: a view of the Mandelbrot set, one part for each tile."""

from __future__ import annotations

from dataclasses import dataclass

from mosaic.kinds.kind import Kind


@dataclass(frozen=True)
class Preset:
    """A named view; `width_units` is the width of the picture in the complex plane."""

    name: str
    center_x: float
    center_y: float
    width_units: float
    iterations: int


PRESETS = (
    Preset("The whole set", -0.6, 0.0, 3.2, 400),
    Preset("Seahorse valley", -0.7453, 0.1127, 0.0065, 1200),
    Preset("Elephant valley", 0.2925755, -0.0149977, 0.01, 900),
    Preset("Triple spiral", -0.0885, 0.6548, 0.012, 900),
    Preset("Mini set with antenna", -1.7685, 0.0, 0.06, 600),
    Preset("Spiral in the seahorse's tail", -0.743643887, 0.131825904, 0.00014, 2500),
    Preset("Lightning", -1.315180982, 0.073481726, 0.0016, 1500),
)

KIND = Kind(
    name="render",
    summary="Render a view of the Mandelbrot set, one part for each tile.",
    routing_key="render",
    has_result=False,
    picture="assemble",
    picture_role="tile",
    caption="{width} × {height}",
    form_values={"presets": PRESETS},
)
