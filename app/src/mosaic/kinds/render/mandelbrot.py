"""Smooth escape times of the Mandelbrot set, and their colours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mosaic.kinds.png import to_png
from mosaic.kinds.render.view import Tile, View

# Much larger than 2, so that the fraction of an iteration is smooth.
ESCAPE_RADIUS = 64.0
PALETTE_SIZE = 4096
# The palette repeats after this number of iterations.
PALETTE_PERIOD = 160.0
# (position, red, green, blue): a cycle through deep blue, white, amber and near black.
PALETTE_STOPS = (
    (0.0, 4, 10, 60),
    (0.16, 32, 107, 203),
    (0.42, 237, 255, 255),
    (0.6425, 255, 170, 0),
    (0.8575, 40, 4, 20),
    (1.0, 4, 10, 60),
)


def escape_times(view: View, tile: Tile) -> NDArray[np.float64]:
    """Return smooth escape times (height x width); NaN where the point did not escape."""
    columns = np.arange(tile.left, tile.left + tile.width)
    rows = np.arange(tile.top, tile.top + tile.height)
    x = view.center_x + (columns + 0.5 - view.width / 2) * view.step
    y = view.center_y - (rows + 0.5 - view.height / 2) * view.step
    points = (x[np.newaxis, :] + 1j * y[:, np.newaxis]).ravel()
    times = np.full(points.shape, np.nan)
    open_points = np.flatnonzero(~_surely_inside(points))
    c = points[open_points]
    z = np.zeros_like(c)
    for iteration in range(1, view.iterations + 1):
        z = z * z + c
        size = z.real * z.real + z.imag * z.imag
        escaped = size > ESCAPE_RADIUS**2
        if escaped.any():
            log_size = np.log(size[escaped]) / 2
            times[open_points[escaped]] = iteration + 1 - np.log2(log_size / np.log(ESCAPE_RADIUS))
            stays = ~escaped
            open_points, c, z = open_points[stays], c[stays], z[stays]
            if not open_points.size:
                break
    return times.reshape(tile.height, tile.width)


def _surely_inside(points: NDArray[np.complex128]) -> NDArray[np.bool_]:
    """Return whether points are in the main cardioid or the disc left of it, which never escape."""
    x, y2 = points.real, points.imag**2
    q = (x - 0.25) ** 2 + y2
    inside: NDArray[np.bool_] = (q * (q + x - 0.25) <= 0.25 * y2) | ((x + 1) ** 2 + y2 <= 0.0625)
    return inside


def make_palette() -> NDArray[np.uint8]:
    """Return the colours of one period of escape times (PALETTE_SIZE x 3)."""
    stops = np.array(PALETTE_STOPS)
    at = np.linspace(0.0, 1.0, PALETTE_SIZE, endpoint=False)
    channels = [np.interp(at, stops[:, 0], stops[:, channel]) for channel in (1, 2, 3)]
    return np.stack(channels, axis=1).round().astype(np.uint8)


def colour(times: NDArray[np.float64], palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the pixels (height x width x 3) of escape times; black where the point did not escape."""
    escaped = ~np.isnan(times)
    # The square root gives the first iterations more colours; a view of the whole set would be flat.
    phase = np.sqrt(np.where(escaped, np.maximum(times, 0.0), 0.0) / PALETTE_PERIOD)
    pixels = palette[(phase * PALETTE_SIZE).astype(np.int64) % PALETTE_SIZE]
    pixels[~escaped] = 0
    return pixels


def render_png(view: View, index: int, palette: NDArray[np.uint8]) -> bytes:
    """Return a tile of the view as PNG; the same bytes on every host with the same libraries."""
    pixels = colour(escape_times(view, view.cut(index)), palette)
    return to_png(Image.fromarray(pixels))
