"""Geometry of a picture: a view of the complex plane, cut into tiles.

Pixel (0, 0) is at the upper left; the imaginary part grows upwards. Values are those of pixel centres.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

# Neighbouring pixels must differ by several units in the last place; otherwise the picture shows blocks.
MIN_STEP_ULPS = 16


@dataclass(frozen=True)
class Tile:
    """A rectangle of the picture in pixels: upper left corner and size."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class View:
    """A view: centre and width in the plane, size and tile edge in pixels, iteration limit."""

    center_x: float
    center_y: float
    width_units: float
    width: int
    height: int
    tile: int
    iterations: int

    @property
    def step(self) -> float:
        """The distance of neighbouring pixels in the plane."""
        return self.width_units / self.width

    @property
    def columns(self) -> int:
        """Tiles in a row."""
        return -(-self.width // self.tile)

    @property
    def rows(self) -> int:
        """Tiles in a column."""
        return -(-self.height // self.tile)

    @property
    def tiles(self) -> int:
        """Tiles of the picture."""
        return self.columns * self.rows

    def cut(self, index: int) -> Tile:
        """Return a tile, counted row by row from the upper left. Tiles at the edges may be smaller."""
        if not 0 <= index < self.tiles:
            raise IndexError(f"tile {index} of {self.tiles}")
        top = index // self.columns * self.tile
        left = index % self.columns * self.tile
        return Tile(left, top, min(self.tile, self.width - left), min(self.tile, self.height - top))

    def too_deep(self) -> bool:
        """Return whether neighbouring pixels are too close for 64-bit floating point."""
        half = max(self.width, self.height) / 2 * self.step
        # At least 1: iterated values reach this size for every point.
        reach = max(1.0, abs(self.center_x) + half, abs(self.center_y) + half)
        return self.step < MIN_STEP_ULPS * sys.float_info.epsilon * reach

    def params(self) -> dict[str, Any]:
        """Return the view as JSON, with the number of columns and rows."""
        return {**asdict(self), "columns": self.columns, "rows": self.rows}

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> View:
        """Return the view of a job's parameters."""
        return cls(**{name: params[name] for name in cls.__dataclass_fields__})
