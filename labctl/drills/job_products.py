"""What drills submit as jobs, and whether all is there that such a job makes."""

import io
from collections.abc import Iterator, Mapping
from typing import Any

from PIL import Image

from labctl.console_api import Console
from labctl.errors import LabError

# 64 tiles of some 60 ms each, on one core of 2026; none is of one colour.
_VIEW = {"center_x": -0.743643887, "center_y": 0.131825904, "width_units": 0.01}
RENDER = {**_VIEW, "width": 384, "height": 384, "tile": 48, "iterations": 20_000}
# One tile with the highest cost that the gateway accepts: about 6 s, so that a fault can interrupt it.
LONG_RENDER = {
    "center_x": -0.1225,
    "center_y": 0.745,
    "width_units": 0.19,
    "width": 512,
    "height": 512,
    "tile": 512,
    "iterations": 3_800,
}
SIZES = (32, 64, 128, 256)
_UPLOADED = (400, 300)


def requests() -> dict[str, tuple[str, dict[str, Any]]]:
    """What is submitted, by kind: the path, and the rest of a POST as httpx takes it."""
    file = io.BytesIO()
    Image.radial_gradient("L").convert("RGB").resize(_UPLOADED).save(file, "PNG")
    picture = {"file": ("gradient.png", file.getvalue(), "image/png")}
    return {
        "render": ("/api/jobs/render", {"json": RENDER}),
        "long render": ("/api/jobs/render", {"json": LONG_RENDER}),
        "scale": ("/api/jobs/scale", {"files": picture, "data": {"sizes": ",".join(map(str, SIZES))}}),
    }


def missing(console: Console, job: Mapping[str, Any]) -> str:
    """What is not there of what a finished job (the API's answer) was to make, "" when all is."""
    try:
        return "; ".join(complaint for complaint in _complaints(console, job) if complaint)
    except LabError as error:
        return str(error)


def _complaints(console: Console, job: Mapping[str, Any]) -> Iterator[str]:
    path = f"/api/jobs/{job['job']}"
    yield _missing_of_image(console.get(f"{path}/image").content, job)
    if job["kind"] == "scale":
        edges = job["params"]["sizes"]
        made = [item["edge"] for item in console.get(f"{path}/result").json()["sizes"]]
        yield "" if made == edges else f"its result has sizes {made}, not {edges}"
        for index, edge in enumerate(edges):
            yield _missing_of_size(console.get(f"{path}/tiles/{index}.png").content, edge)


def _missing_of_image(data: bytes, job: Mapping[str, Any]) -> str:
    """A tile that is not there is of one colour, and so is an empty sheet."""
    params = job["params"]
    try:
        image = open_png(data)
    except ValueError as error:
        return f"its picture: {error}"
    if job["kind"] == "scale":
        return "" if _colours(image) > 1 else "its sheet is empty"
    if image.size != (params["width"], params["height"]):
        return f"its picture has {image.width} x {image.height} pixels"
    edge = params["tile"]
    empty = sum(
        _colours(image.crop((left, top, left + edge, top + edge))) == 1
        for top in range(0, image.height, edge)
        for left in range(0, image.width, edge)
    )
    return f"{empty} tiles of its picture are empty" if empty else ""


def _missing_of_size(data: bytes, edge: int) -> str:
    try:
        size = open_png(data).size
    except ValueError as error:
        return f"its size {edge}: {error}"
    width, height = _UPLOADED
    expected = (edge, round(edge * height / width))
    return "" if size == expected else f"its size {edge} has {size[0]} x {size[1]} pixels"


def open_png(data: bytes) -> Image.Image:
    """The picture, decoded to its last pixel. Raises ValueError for what is no whole PNG."""
    try:
        image = Image.open(io.BytesIO(data), formats=["PNG"])
        image.load()
    except (OSError, SyntaxError) as error:  # what Pillow raises for damaged files
        raise ValueError(f"{len(data)} bytes that are no whole PNG ({error})") from error
    return image


def _colours(image: Image.Image) -> int:
    return len(image.getcolors(image.width * image.height) or ())
