"""Uploaded pictures: checked before decoding, and scaled."""

from __future__ import annotations

import io

from PIL import Image, ImageOps, UnidentifiedImageError

from mosaic.kinds.png import to_png

MAX_PIXELS = 50_000_000
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
# check_picture has the only limit, and refuses before decoding. Pillow has another limit.
Image.MAX_IMAGE_PIXELS = None


class PictureError(ValueError):
    """The bytes are not a supported picture; the message is one sentence."""


def check_picture(data: bytes) -> tuple[int, int, str]:
    """Return width, height and format from the header, without decoding. Raises PictureError."""
    with _open(data) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise PictureError(
                f"the picture has {width * height / 1e6:.0f} megapixels; "
                f"at most {MAX_PIXELS / 1e6:.0f} are accepted."
            )
        return width, height, str(image.format)


def _open(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError):
        raise PictureError(f"the file is not a picture of a known format ({', '.join(FORMATS)}).") from None


def scale(data: bytes, edge: int) -> tuple[bytes, int, int]:
    """Return the picture as PNG, upright, within a square of `edge` pixels, with its width and height.

    A smaller picture keeps its size. Colours become 8-bit RGB, or RGBA with transparency.
    Raises PictureError.
    """
    check_picture(data)
    with _open(data) as image:
        try:
            # A JPEG is decoded at a reduced size if the wanted size is known.
            image.draft("RGB", (edge * 2, edge * 2))
            upright = ImageOps.exif_transpose(image)
            picture = to_rgb(upright)
        except (OSError, ValueError, SyntaxError, EOFError) as error:
            raise PictureError(f"the picture is damaged: {error}.") from None
    picture.thumbnail((edge, edge), Image.Resampling.LANCZOS)
    return to_png(picture), picture.width, picture.height


def to_rgb(image: Image.Image) -> Image.Image:
    """Return the picture as 8-bit RGB or RGBA; 16-bit grey is scaled, not clipped."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        low, high = (float(value) for value in _extrema(image))
        top = 65535.0 if image.mode != "F" and high > 255 else max(high, 1.0)
        base = min(low, 0.0)
        # Mode F first: `point` of a 16-bit picture clips.
        grey = image.convert("F").point(lambda value: (value - base) * (255.0 / (top - base)))
        return grey.convert("L").convert("RGB")
    transparent = image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
    return image.convert("RGBA" if transparent else "RGB")


def _extrema(image: Image.Image) -> tuple[float, float]:
    low, high = image.getextrema()
    return float(low), float(high)  # type: ignore[arg-type]
