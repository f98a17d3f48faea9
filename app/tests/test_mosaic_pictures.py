"""Uploaded pictures: which are refused before decoding, and the results of scaling unusual formats."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from mosaic.kinds.scale.pictures import MAX_PIXELS, PictureError, check_picture, scale
from mosaic.kinds.scale.sheet import EDGE, MARGIN, contact_sheet
from PIL import Image


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    """Return the file of an image."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def decoded(data: bytes) -> Image.Image:
    """Return the image of a file."""
    return Image.open(io.BytesIO(data))


def bomb(width: int, height: int) -> bytes:
    """Return a PNG of a few hundred bytes that claims width x height pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"<svg/>", b"%PDF-1.7", bytes(4096)])
def test_other_bytes_are_no_picture(data: bytes) -> None:
    with pytest.raises(PictureError, match="not a picture"):
        check_picture(data, 64)


def test_bomb_is_refused_without_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("the picture was decoded"))
    with pytest.raises(PictureError, match="200 megapixels; at most 50"):
        check_picture(bomb(20_000, 10_000), 64)


def test_picture_at_the_limit_passes() -> None:
    assert check_picture(bomb(10_000, MAX_PIXELS // 10_000), 1024) == "PNG"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
def test_formats(kind: str) -> None:
    data = encoded(Image.new("RGB", (300, 200), (200, 30, 30)), kind)
    assert check_picture(data, 150) == kind
    png, width, height = scale(data, 150)
    assert (width, height) == (150, 100)
    assert decoded(png).format == "PNG"


def test_small_picture_keeps_its_size() -> None:
    _, width, height = scale(encoded(Image.new("RGB", (40, 30))), 256)
    assert (width, height) == (40, 30)


def test_extreme_shape_keeps_a_pixel() -> None:
    _, width, height = scale(encoded(Image.new("RGB", (2000, 2))), 64)
    assert (width, height) == (64, 1)


def test_exif_orientation_is_applied() -> None:
    image = Image.new("RGB", (80, 40), (0, 0, 0))
    image.paste((255, 255, 255), (0, 0, 40, 40))
    exif = Image.Exif()
    exif[0x0112] = 6
    png, width, height = scale(encoded(image, "JPEG", exif=exif), 80)
    assert (width, height) == (40, 80)
    upright = decoded(png).convert("L")
    assert upright.getpixel((20, 10)) > 200  # type: ignore[operator]
    assert upright.getpixel((20, 70)) < 50  # type: ignore[operator]


def test_cmyk_becomes_rgb() -> None:
    png, _, _ = scale(encoded(Image.new("CMYK", (60, 60), (0, 255, 255, 0)), "JPEG"), 32)
    picture = decoded(png)
    assert picture.mode == "RGB"
    red, green, blue = picture.getpixel((16, 16))  # type: ignore[misc]
    assert red > 180
    assert green < 90
    assert blue < 90


def test_sixteen_bit_grey_is_not_clipped() -> None:
    ramp = np.tile(np.linspace(0, 65535, 64, dtype=np.uint16), (64, 1))
    png, _, _ = scale(encoded(Image.fromarray(ramp)), 64)
    values = np.asarray(decoded(png).convert("L"))[0]
    assert values[0] <= 2
    assert abs(int(values[32]) - 130) < 5
    assert values[-1] >= 253


def test_transparency_is_kept() -> None:
    png, _, _ = scale(encoded(Image.new("RGBA", (64, 64), (255, 0, 0, 100))), 32)
    assert decoded(png).getpixel((5, 5)) == (255, 0, 0, 100)
    palette = Image.new("P", (64, 64), 0)
    png, _, _ = scale(encoded(palette, "GIF", transparency=0), 32)
    assert decoded(png).mode == "RGBA"


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_damaged_picture_gets_one_sentence(kind: str) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    with pytest.raises(PictureError, match="damaged"):
        scale(data[: len(data) // 2], 64)


def test_metadata_is_dropped() -> None:
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    png, _, _ = scale(encoded(Image.new("RGB", (64, 64)), "JPEG", exif=exif), 32)
    assert b"where I live" not in png


def test_contact_sheet_holds_every_picture() -> None:
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
    items = [encoded(Image.new("RGB", (100, 50), colour)) for colour in colours]
    sheet = decoded(contact_sheet(["a", "b", "c"], items)).convert("RGB")
    present = {colour for _, colour in sheet.getcolors(1_000_000)}  # type: ignore[union-attr]
    assert set(colours) <= present
    assert sheet.width == 3 * (EDGE + MARGIN) + MARGIN
