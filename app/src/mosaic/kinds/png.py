"""PNG files in memory."""

from __future__ import annotations

import io

from PIL import Image


def to_png(image: Image.Image) -> bytes:
    """Return the picture as PNG without metadata."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def open_png(data: bytes, mode: str = "RGB") -> Image.Image:
    """Decode a PNG to a picture in `mode`."""
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        return image.convert(mode)
