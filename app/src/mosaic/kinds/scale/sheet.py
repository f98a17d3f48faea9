"""The contact sheet of a scaling: the picture of its job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw

from mosaic.kinds.kind import JobBlob
from mosaic.kinds.png import open_png, to_png
from mosaic.kinds.scale.pictures import shrunk

EDGE = 240
MARGIN = 16
LABEL = 20


def contact_sheet(labels: Sequence[str], pictures: Iterable[bytes]) -> bytes:
    """Return one PNG that shows pictures (PNG) side by side, each with its label."""
    cell = EDGE + MARGIN
    width = max(1, len(labels)) * cell + MARGIN
    height = EDGE + LABEL + 2 * MARGIN
    sheet = Image.new("RGB", (width, height), (24, 26, 32))
    draw = ImageDraw.Draw(sheet)
    for place, (label, data) in enumerate(zip(labels, pictures, strict=True)):
        small = shrunk(data, EDGE).convert("RGBA")
        left = MARGIN + place * cell
        spot = (
            left + (EDGE - small.width) // 2,
            MARGIN + (EDGE - small.height) // 2,
        )
        sheet.paste(small, spot, small)
        draw.text((left, MARGIN + EDGE + 4), label, fill=(220, 224, 232))
    return to_png(sheet)


def picture(_params: Mapping[str, Any], sheets: Sequence[JobBlob], _tints: object) -> bytes | None:
    """Return the sheet, or None if it does not exist yet."""
    return sheets[0][1] if sheets else None


def thumbnail(_params: Mapping[str, Any], sheets: Sequence[JobBlob], edge: int) -> bytes | None:
    """Return the sheet within `edge` pixels."""
    if not sheets:
        return None
    small = open_png(sheets[0][1])
    small.thumbnail((edge, edge), Image.Resampling.LANCZOS)
    return to_png(small)
