"""Uploaded pictures: their need of memory is computed before decoding, and they are scaled by strips."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import closing

from PIL import Image, UnidentifiedImageError

from mosaic.kinds.kind import TASK_BYTES
from mosaic.kinds.png import to_png

MAX_PIXELS = 50_000_000
FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
JPEG = ("JPEG", "MPO")
# check_picture has the only limit, and refuses before decoding. Pillow has another limit.
Image.MAX_IMAGE_PIXELS = None

# What Pillow and its libraries raise for damaged files.
DAMAGES = (OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, RuntimeError, struct.error)
ORIENTATION = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

STRIP_PIXELS = 2**20
MAX_FACTOR = 16
# Strips in several modes at a time, and what libraries need besides pixels.
WORKING_BYTES = 24 * 2**20
Size = tuple[int, int]


class PictureError(ValueError):
    """The bytes are not a supported picture, or it is too large; the message is one sentence."""


def check_picture(data: bytes, edge: int) -> str:
    """Return the format of a picture that `scale` can scale to `edge`, without decoding it.

    Raises PictureError.
    """
    with _open(data) as image:
        _check_need(image, data, edge)
        return str(image.format)


def _open(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except (UnidentifiedImageError, *DAMAGES):
        raise PictureError(f"the file is not a picture of a known format ({', '.join(FORMATS)}).") from None


def _check_need(image: Image.Image, data: bytes, edge: int) -> None:
    """Prepare `image` for decoding; raise PictureError if scaling it would need too much memory."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise PictureError(
            f"the picture has {width * height / 1e6:.0f} megapixels; at most {MAX_PIXELS / 1e6:.0f} are "
            "accepted: make it smaller."
        )
    need = _need(image, data, edge)
    if need > TASK_BYTES:
        is_jpeg = image.format in JPEG
        raise PictureError(
            f"scaling this {image.format} of {width} x {height} pixels to {edge} would need "
            f"{need / 2**20:.0f} MiB of memory; at most {TASK_BYTES / 2**20:.0f} are allowed: "
            f"make the picture or the sizes smaller{'' if is_jpeg else ', or send it as JPEG'}."
        )


def _need(image: Image.Image, data: bytes, edge: int) -> int:
    """Return the bytes of memory that `scale` needs at most. A JPEG is prepared for a reduced size."""
    target = fitted(image.size, edge)
    need = len(data) + WORKING_BYTES
    try:
        if image.format in JPEG:
            need += _coefficients(image, data)
            image.draft("RGB", (edge * 2, edge * 2))
        elif image.format == "WEBP":
            # The decoder has two canvases, and Pillow copies one before it unpacks it.
            need += 13 * _area(image.size)
        elif image.format == "TIFF":
            need += len(data) + _largest_strip(image)
    except DAMAGES as error:
        raise PictureError(f"the picture is damaged: {error}.") from None
    channels = {"1": 1, "L": 1, "P": 1}.get(image.mode, 2 if image.mode.startswith("I;16") else 4)
    reduced = _reduced_size(image.size, target)
    if reduced != image.size:
        need += 4 * _area(reduced)
    return need + channels * _area(image.size) + 4 * _area(target)


def _coefficients(image: Image.Image, data: bytes) -> int:
    """Return the bytes for a JPEG's coefficients. They are kept if it has several scans, e.g. progressive."""
    layers: list[tuple[int, int, int, int]] = getattr(image, "layer", [])
    scan = image.fp.tell() - 8 - 2 * len(layers)  # type: ignore[attr-defined]
    if "progressive" not in image.info and data[scan : scan + 2] == b"\xff\xda":
        return 0
    full = max(layer[1] for layer in layers) * max(layer[2] for layer in layers)
    samples = sum(layer[1] * layer[2] for layer in layers) / full
    # Blocks at the edges are complete.
    width, height = (length + 64 for length in image.size)
    return int(2 * width * height * samples)


def _largest_strip(image: Image.Image) -> int:
    """Return the bytes of the largest strip or tile of a TIFF, which libtiff decodes at once."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    if image.info.get("compression") == "raw":
        return 0
    bits = tags.get(258, (1,))
    samples = max(int(tags.get(277, 1)), len(bits))
    # With subsampled colours, libtiff unpacks to four bytes a pixel.
    pixel = max(4, samples * max(bits) / 8)
    width, height = image.size
    if 322 in tags:
        return int(int(tags[322]) * int(tags.get(323, height)) * pixel)
    return int(width * min(int(tags.get(278, height)), height) * pixel)


def scale(data: bytes, edge: int) -> tuple[bytes, int, int]:
    """Return the picture as PNG, upright, within a square of `edge` pixels, with its width and height.

    Raises PictureError.
    """
    picture = shrunk(data, edge)
    return to_png(picture), picture.width, picture.height


def shrunk(data: bytes, edge: int) -> Image.Image:
    """Return the picture upright within a square of `edge` pixels; a smaller picture keeps its size.

    Colours become 8-bit RGB, or RGBA with transparency. Raises PictureError.
    """
    with closing(_open(data)) as image:  # leaving an Image itself does not free its pixels
        target = fitted(image.size, edge)
        _check_need(image, data, edge)
        try:
            turn = UPRIGHT.get(image.getexif().get(ORIENTATION, 1))
            image.load()
            picture = _resized(image, target)
        except DAMAGES as error:
            raise PictureError(f"the picture is damaged: {error}.") from None
    if picture.mode == "RGBa":
        picture = picture.convert("RGBA")
    return picture if turn is None else picture.transpose(turn)


def fitted(size: Size, edge: int) -> Size:
    """Return the size of a picture within a square of `edge` pixels; a smaller picture keeps its size."""
    share = min(1.0, edge / max(size))
    return max(1, round(size[0] * share)), max(1, round(size[1] * share))


def _resized(image: Image.Image, target: Size) -> Image.Image:
    """Return a loaded picture in RGB or RGBa and a smaller size. Only strips of it are copied."""
    colours = _Colours(image)
    reduced = _reduced(image, _factors(image.size, target), colours)
    source, small = reduced or image, Image.new(colours.mode, target)
    ratio = source.height / target[1]
    margin = int(3 * max(ratio, 1.0)) + 2
    for top, bottom in _strips(target[1], max(1, int(STRIP_PIXELS / (source.width * ratio)))):
        first = max(0, int(top * ratio) - margin)
        strip = source.crop((0, first, source.width, min(source.height, int(bottom * ratio) + margin)))
        box = (0.0, top * ratio - first, float(source.width), min(bottom * ratio - first, strip.height))
        size = (target[0], bottom - top)
        strip = strip if reduced else colours.of(strip)
        small.paste(strip.resize(size, Image.Resampling.LANCZOS, box), (0, top))
    return small


def _reduced(image: Image.Image, factors: Size, colours: _Colours) -> Image.Image | None:
    """Return the picture in a size that is smaller by `factors`; None if these are 1."""
    if factors == (1, 1):
        return None
    small = Image.new(colours.mode, _divided(image.size, factors))
    rows = max(1, STRIP_PIXELS // (image.width * factors[1])) * factors[1]
    for top, bottom in _strips(image.height, rows):
        strip = colours.of(image.crop((0, top, image.width, bottom)))
        small.paste(strip.reduce(factors), (0, top // factors[1]))
    return small


class _Colours:
    """Converts strips of a picture to `mode`: RGB, or RGBa (premultiplied) for a picture with transparency.

    16-bit grey is scaled, not clipped.
    """

    def __init__(self, image: Image.Image) -> None:
        """Take the range of the picture's grey values, if they have more than 8 bits."""
        self._is_deep = image.mode.startswith("I;16") or image.mode in ("I", "F")
        transparent = image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
        self.mode = "RGBa" if transparent and not self._is_deep else "RGB"
        if self._is_deep:
            low, high = (float(value) for value in image.getextrema())  # type: ignore[arg-type]
            top = 65535.0 if image.mode != "F" and high > 255 else max(high, 1.0)
            self._base = min(low, 0.0)
            self._scale = 255.0 / (top - self._base)

    def of(self, strip: Image.Image) -> Image.Image:
        """Return the strip in `mode`."""
        if self._is_deep:
            # Mode F first: `point` of a 16-bit picture clips.
            grey = strip.convert("F").point(lambda value: (value - self._base) * self._scale)
            return grey.convert("L").convert("RGB")
        if self.mode == "RGB":
            return strip.convert("RGB")
        return strip.convert("RGBA").convert("RGBa")


def _factors(size: Size, target: Size) -> Size:
    """Return the factors by which a picture can be reduced first: the rest is a factor of two or more."""
    width, height = (max(1, min(MAX_FACTOR, old // (2 * new))) for old, new in zip(size, target, strict=True))
    return width, height


def _reduced_size(size: Size, target: Size) -> Size:
    return _divided(size, _factors(size, target))


def _divided(size: Size, factors: Size) -> Size:
    return -(-size[0] // factors[0]), -(-size[1] // factors[1])


def _strips(height: int, rows: int) -> Iterator[tuple[int, int]]:
    """Yield the first row of each strip, and the first row after it."""
    for top in range(0, height, rows):
        yield top, min(height, top + rows)


def _area(size: Size) -> int:
    return size[0] * size[1]
