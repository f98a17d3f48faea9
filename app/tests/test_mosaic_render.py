"""The view's geometry, the rendering of tiles, and the picture assembled from them."""

from __future__ import annotations

import io
import itertools
import math

import numpy as np
import pytest
from mosaic.gateway.tints import TINTS, host_tints
from mosaic.kinds.png import to_png
from mosaic.kinds.render import PRESETS
from mosaic.kinds.render.assemble import picture, thumbnail
from mosaic.kinds.render.mandelbrot import PALETTE_SIZE, colour, escape_times, make_palette, render_png
from mosaic.kinds.render.view import Tile, View
from PIL import Image

WHOLE = View(center_x=-0.6, center_y=0.0, width_units=3.2, width=160, height=112, tile=32, iterations=200)


def pixel_at(x: float, y: float, iterations: int = 500) -> float:
    """Return the escape time of one point."""
    view = View(x, y, 1e-6, 1, 1, 16, iterations)
    return float(escape_times(view, view.cut(0))[0, 0])


@pytest.mark.parametrize(
    ("width", "height", "tile"), [(160, 112, 32), (100, 70, 32), (16, 16, 512), (65, 64, 64), (1280, 896, 64)]
)
def test_tiles_cover_each_pixel_once(width: int, height: int, tile: int) -> None:
    view = View(0, 0, 1, width, height, tile, 1)
    covered = np.zeros((height, width), dtype=int)
    for index in range(view.tiles):
        place = view.cut(index)
        covered[place.top : place.top + place.height, place.left : place.left + place.width] += 1
    assert (covered == 1).all()


def test_tiles_count_row_by_row() -> None:
    assert WHOLE.cut(0) == Tile(0, 0, 32, 32)
    assert WHOLE.cut(4) == Tile(128, 0, 32, 32)
    assert WHOLE.cut(5) == Tile(0, 32, 32, 32)
    assert WHOLE.cut(19) == Tile(128, 96, 32, 16)


@pytest.mark.parametrize("index", [-1, 20])
def test_there_is_no_tile_outside(index: int) -> None:
    with pytest.raises(IndexError):
        WHOLE.cut(index)


def test_params_round_trip() -> None:
    assert View.from_params(WHOLE.params()) == WHOLE


@pytest.mark.parametrize(
    ("x", "y"), [(0, 0), (-1, 0), (-0.5, 0.5), (0.24, 0), (-1.3107, 0), (-0.1226, 0.7449)]
)
def test_points_inside_never_escape(x: float, y: float) -> None:
    assert math.isnan(pixel_at(x, y))


@pytest.mark.parametrize(("x", "y"), [(2, 2), (0.26, 0), (-2.01, 0), (0, 1.01), (-0.75, 0.1)])
def test_points_outside_escape(x: float, y: float) -> None:
    assert pixel_at(x, y) > 0


def test_escape_time_is_the_iteration_and_smooth() -> None:
    # 4, 20, 404, ...: |z| passes 64 in the third iteration.
    time = pixel_at(4, 0)
    assert time == pytest.approx(3 + 1 - math.log2(math.log(404) / math.log(64)), abs=1e-4)
    # From three iterations to seven, without a step at any of them.
    times = [pixel_at(0.4, y) for y in np.linspace(0.75, 3.0, 2000)]
    assert max(times) - min(times) > 3
    assert max(abs(a - b) for a, b in itertools.pairwise(times)) < 0.02


def test_shortcut_for_the_interior_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with_shortcut = escape_times(WHOLE, WHOLE.cut(7))
    monkeypatch.setattr(
        "mosaic.kinds.render.mandelbrot._surely_inside", lambda points: np.zeros(points.shape, dtype=bool)
    )
    np.testing.assert_array_equal(escape_times(WHOLE, WHOLE.cut(7)), with_shortcut)


def test_rendering_is_deterministic() -> None:
    palette = make_palette()
    assert render_png(WHOLE, 7, palette) == render_png(WHOLE, 7, make_palette())


def test_upper_half_mirrors_the_lower() -> None:
    top = escape_times(WHOLE, Tile(0, 0, WHOLE.width, WHOLE.height // 2))
    bottom = escape_times(WHOLE, Tile(0, WHOLE.height // 2, WHOLE.width, WHOLE.height // 2))
    np.testing.assert_allclose(top, bottom[::-1])


def test_imaginary_part_grows_upwards() -> None:
    view = View(0, 1.2, 0.5, 40, 40, 40, 50)
    times = escape_times(view, view.cut(0))
    # The set lies below the view, so points near it escape later.
    assert np.nanmean(times[-1]) > np.nanmean(times[0])


def test_tiles_join_to_the_picture_rendered_at_once() -> None:
    palette = make_palette()
    tiles = [(index, render_png(WHOLE, index, palette), None) for index in range(WHOLE.tiles)]
    assembled = np.asarray(Image.open(io.BytesIO(picture(WHOLE.params(), tiles))))
    at_once = colour(escape_times(WHOLE, Tile(0, 0, WHOLE.width, WHOLE.height)), palette)
    np.testing.assert_array_equal(assembled, at_once)


def test_inside_is_black_and_the_palette_full() -> None:
    palette = make_palette()
    assert palette.shape == (PALETTE_SIZE, 3)
    assert len(np.unique(palette, axis=0)) > 500
    pixels = colour(np.array([[np.nan, 0.0, 1e9, -1.0]]), palette)
    assert pixels[0, 0].tolist() == [0, 0, 0]


def test_missing_tiles_leave_the_background() -> None:
    palette = make_palette()
    shown = Image.open(io.BytesIO(picture(WHOLE.params(), [(0, render_png(WHOLE, 0, palette), "worker-1")])))
    assert shown.size == (160, 112)
    assert shown.getpixel((159, 111)) == (28, 30, 36)
    assert shown.getpixel((1, 1)) != (28, 30, 36)


def test_thumbnail_is_the_picture_made_smaller() -> None:
    palette = make_palette()
    tiles = [(index, render_png(WHOLE, index, palette), None) for index in range(WHOLE.tiles) if index != 7]
    small = Image.open(io.BytesIO(thumbnail(WHOLE.params(), tiles, 80)))
    whole = Image.open(io.BytesIO(picture(WHOLE.params(), tiles)))
    wanted = np.asarray(whole.resize((80, 56), Image.Resampling.BOX), dtype=int)
    assert np.abs(np.asarray(small, dtype=int) - wanted).max() <= 1
    assert Image.open(io.BytesIO(thumbnail(WHOLE.params(), tiles, 1000))).size == (160, 112)


@pytest.mark.parametrize("tile", [16, 48, 512])
def test_thumbnail_has_no_gap_between_tiles(tile: int) -> None:
    view = View(-0.6, 0.0, 3.2, 700, 333, tile, 1)
    white = [
        (index, to_png(Image.new("RGB", (view.cut(index).width, view.cut(index).height), "white")), None)
        for index in range(view.tiles)
    ]
    small = Image.open(io.BytesIO(thumbnail(view.params(), white, 320)))
    assert (small.size, small.getextrema()) == ((320, 152), ((255, 255),) * 3)


def test_hosts_are_told_apart_by_tint() -> None:
    tints = host_tints(["worker-2", "worker-1", "worker-2"])
    assert tints == {"worker-1": TINTS[0], "worker-2": TINTS[1]}
    grey = Image.new("RGB", (32, 32), (128, 128, 128))
    file = io.BytesIO()
    grey.save(file, "PNG")
    tiles = [(0, file.getvalue(), "worker-1"), (1, file.getvalue(), "worker-2"), (2, file.getvalue(), None)]
    shown = Image.open(io.BytesIO(picture(WHOLE.params(), tiles, tints)))
    for x, wanted in ((5, TINTS[0]), (37, TINTS[1]), (69, (128, 128, 128))):
        np.testing.assert_allclose(np.asarray(shown)[5, x], wanted, atol=2)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_presets_show_something(preset: object) -> None:
    view = View(preset.center_x, preset.center_y, preset.width_units, 48, 32, 48, preset.iterations)  # type: ignore[attr-defined]
    assert not view.too_deep()
    times = escape_times(view, view.cut(0))
    assert np.isfinite(times).mean() > 0.1
    assert np.nanstd(times) > 0.5


def test_precision_limit() -> None:
    assert View(-0.7436, 0.1318, 1e-10, 1280, 896, 64, 100).too_deep() is False
    assert View(-0.7436, 0.1318, 1e-13, 1280, 896, 64, 100).too_deep() is True
    assert View(0.0, 0.0, 1e-13, 1280, 896, 64, 100).too_deep() is True
