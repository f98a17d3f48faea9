"""Assembling a picture from its tiles, as they are or tinted by host."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence

from PIL import Image, ImageOps

from mosaic.kinds.render.view import View
from mosaic.kinds.scale.pictures import to_png

BACKGROUND = (28, 30, 36)
SHADE = (10, 10, 14)
WHITENING = 0.75
# Told apart by colour-blind people too (Okabe and Ito); a ninth host takes the first again.
TINTS = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (240, 228, 66),
    (213, 94, 0),
    (0, 114, 178),
    (153, 153, 153),
)


def host_tints(hosts: Iterable[str]) -> dict[str, tuple[int, int, int]]:
    """Return a tint for each host, by the hosts' alphabetical order."""
    return {host: TINTS[place % len(TINTS)] for place, host in enumerate(sorted(set(hosts)))}


def assemble(
    view: View,
    tiles: Sequence[tuple[int, bytes, str | None]],
    tints: Mapping[str, tuple[int, int, int]] | None = None,
) -> bytes:
    """Return the picture as PNG from (index, PNG, host); missing tiles stay in the background colour."""
    picture = Image.new("RGB", (view.width, view.height), BACKGROUND)
    for index, data, host in tiles:
        place = view.cut(index)
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            tile = image.convert("RGB")
        if tints is not None and host is not None and host in tints:
            # Light and shade of the tile in the host's hue; a blend would leave amber looking like orange.
            tile = ImageOps.colorize(tile.convert("L"), SHADE, _whitened(tints[host]), mid=tints[host])
        picture.paste(tile, (place.left, place.top))
    return to_png(picture)


def _whitened(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    red, green, blue = (round(channel + (255 - channel) * WHITENING) for channel in colour)
    return red, green, blue
