"""Rendering: one task for each tile, with a base class that keeps the palette."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from celery import shared_task
from numpy.typing import NDArray

from mosaic.kinds.render.mandelbrot import make_palette, render_png
from mosaic.kinds.render.view import View
from mosaic.ledger.work import PartWork, Product
from mosaic.tasks.base import PartTask


class RenderTask(PartTask):
    """Each process has one object of a task, so each process computes the palette once."""

    abstract = True

    @cached_property
    def palette(self) -> NDArray[np.uint8]:
        """The colours of all tiles."""
        return make_palette()


@shared_task(bind=True, base=RenderTask, name="mosaic.render.tile")
def tile(self: RenderTask, part: PartWork) -> Product:
    """Render the tile with the part's index as PNG."""
    png = render_png(View.from_params(part.job_params), part.index, self.palette)
    return Product(role="tile", content_type="image/png", data=png)
