"""What the forms accept fits into the memory of one task (mosaic.kinds.kind.TASK_BYTES)."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from mosaic.kinds.scale.pictures import MAX_PIXELS
from PIL import Image

Scale = Callable[[bytes, int], str]
CHILD = Path(__file__).with_name("picture_child.py")
# Format, modes that its encoder takes, options.
ENCODERS = (
    ("PNG", ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"), ({"compress_level": 1},)),
    ("JPEG", ("L", "RGB", "CMYK"), ({}, {"progressive": True}, {"progressive": True, "subsampling": 0})),
    ("GIF", ("1", "L", "P"), ({},)),
    ("WEBP", ("RGB", "RGBA"), ({"quality": 1, "method": 0}, {"lossless": True, "method": 0})),
    ("BMP", ("1", "L", "P", "RGB", "RGBA"), ({},)),
    (
        "TIFF",
        ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"),
        (
            {"compression": "tiff_lzw", "strip_size": 2**30},
            {"compression": "tiff_adobe_deflate"},
            {"compression": "packbits"},
            {},
        ),
    ),
)


@pytest.fixture(scope="module")
def scale_in_child() -> Iterator[Scale]:
    """Yield a function that scales in a process with the memory of one task and returns what happened."""
    with subprocess.Popen([sys.executable, CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        taking, giving = process.stdin, process.stdout

        def scale(data: bytes, edge: int) -> str:
            taking.write(b"%d %d\n" % (edge, len(data)) + data)
            taking.flush()
            return giving.readline().decode().strip()

        yield scale
        taking.close()


def encoded(kind: str, mode: str, size: tuple[int, int], options: dict[str, object]) -> bytes:
    """Return the file of a picture whose pixels are not all the same."""
    image = Image.linear_gradient("L").convert("F" if mode in ("I", "I;16") else mode)
    file = io.BytesIO()
    image.convert(mode).resize(size, Image.Resampling.NEAREST).save(file, kind, **options)
    return file.getvalue()


@st.composite
def files(draw: st.DrawFn) -> tuple[str, tuple[int, int], bytes]:
    """Return a description, the size and the bytes of a picture, many of them near the limits."""
    kind, modes, choices = draw(st.sampled_from(ENCODERS))
    mode, options = draw(st.sampled_from(modes)), draw(st.sampled_from(choices))
    longest = 16_000 if kind == "WEBP" else 60_000
    width = draw(st.one_of(st.integers(1, longest), st.integers(3000, 9000)))
    height = draw(st.integers(1, max(1, min(longest, MAX_PIXELS // width))))
    return f"{kind} {mode} {options}", (width, height), encoded(kind, mode, (width, height), options)


def test_what_is_accepted_fits_into_the_memory_of_a_task(scale_in_child: Scale) -> None:
    seen: set[str] = set()

    @settings(
        max_examples=40,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(files(), st.sampled_from((1, 64, 1024, 4096)))
    def try_one(file: tuple[str, tuple[int, int], bytes], edge: int) -> None:
        what, size, data = file
        found = scale_in_child(data, edge)
        assert found == "scaled" or found.startswith("refused "), (what, size, edge, found)
        seen.add(found.partition(" ")[0])

    try_one()
    assert seen == {"scaled", "refused"}
