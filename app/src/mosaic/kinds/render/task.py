"""Rendering: one task a tile, as a class that keeps its palette."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mosaic.kinds.render.mandelbrot import make_palette, render_png
from mosaic.kinds.render.view import View
from mosaic.ledger.work import PartWork, Product
from mosaic.tasks.base import PartTask


class RenderTile(PartTask):
    """Renders the tile that has the part's index.

    There is one task object a process, so what it keeps is computed once in each.
    """

    name = "mosaic.render.tile"

    @cached_property
    def palette(self) -> NDArray[np.uint8]:
        """The colours of all tiles."""
        return make_palette()

    def run(self, part: PartWork) -> Product:
        """Return the tile as PNG."""
        view = View.from_params(part.job_params)
        png = render_png(view, part.index, self.palette)
        return Product(role="tile", content_type="image/png", data=png)
