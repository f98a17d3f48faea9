"""PNG files in memory: what tasks make, and pictures are made of."""

from __future__ import annotations

import io

from PIL import Image


def to_png(image: Image.Image) -> bytes:
    """Return the picture as PNG without metadata."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def open_png(data: bytes, mode: str = "RGB") -> Image.Image:
    """Return the picture of a PNG, decoded to `mode`."""
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        return image.convert(mode)
