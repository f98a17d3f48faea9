"""Assembling a picture from its tiles, as they are or tinted by host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from PIL import Image, ImageOps

from mosaic.kinds.kind import JobBlob, Tints
from mosaic.kinds.png import open_png, to_png
from mosaic.kinds.render.view import View

BACKGROUND = (28, 30, 36)
SHADE = (10, 10, 14)
WHITENING = 0.75


def picture(params: Mapping[str, Any], tiles: Iterable[JobBlob], tints: Tints | None = None) -> bytes:
    """Return the picture of a job; missing tiles have the background colour."""
    view = View.from_params(params)
    canvas = Image.new("RGB", (view.width, view.height), BACKGROUND)
    for index, data, host in tiles:
        place = view.cut(index)
        tile = open_png(data)
        if tints is not None and host is not None and host in tints:
            # The tile's brightness in the host's colour. A blend of both would make amber look like orange.
            tile = ImageOps.colorize(tile.convert("L"), SHADE, _whitened(tints[host]), mid=tints[host])
        canvas.paste(tile, (place.left, place.top))
    return to_png(canvas)


def thumbnail(params: Mapping[str, Any], tiles: Iterable[JobBlob], edge: int) -> bytes:
    """Return the picture within `edge` pixels, from tiles that are resized one by one.

    So the whole picture, up to 100 MB, is never in memory.
    """
    view = View.from_params(params)
    share = min(1.0, edge / max(view.width, view.height))
    size = (max(1, round(view.width * share)), max(1, round(view.height * share)))
    canvas = Image.new("RGB", size, BACKGROUND)
    for index, data, _ in tiles:
        place = view.cut(index)
        left, right = round(place.left * share), round((place.left + place.width) * share)
        top, bottom = round(place.top * share), round((place.top + place.height) * share)
        if right > left and bottom > top:
            small = open_png(data).resize((right - left, bottom - top), Image.Resampling.BOX)
            canvas.paste(small, (left, top))
    return to_png(canvas)


def _whitened(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    red, green, blue = (round(channel + (255 - channel) * WHITENING) for channel in colour)
    return red, green, blue
