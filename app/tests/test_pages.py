"""Files of pages: what all of them must do in the same way."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from mosaic import gateway, kinds
from mosaic.kinds.scale import DEFAULT_SIZES
from mosaic.kinds.scale.plan import parse_sizes

FOLDERS = [Path(str(package.__file__)).parent for package in (gateway, kinds)]
SCRIPTS = sorted(
    path for folder in FOLDERS for path in folder.rglob("static/**/*.js") if "vendor" not in path.parts
)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_times_are_written_in_one_place_and_so_in_one_zone(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"toLocale(Time|Date)String|DateTimeFormat|Date\([^)]*\)\.toLocale", text)
    # Times that have passed are kept up to date by `since` of dom.js, in the gateway's clock.
    if path.name not in ("dom.js", "ages.js"):
        assert not re.search(r"\bago\(|Date\.now\(\)", text)


def test_form_shows_the_sizes_that_are_used_without_any(client: TestClient) -> None:
    page = client.get("/jobs").text
    shown = re.search(r'name="sizes" value="([^"]*)" required', page)
    assert shown
    assert parse_sizes(shown[1]) == parse_sizes("") == DEFAULT_SIZES
