"""Wrong requests: the answer is a 4xx with one sentence, and nothing is stored or published."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import RecordingPublisher
from fastapi.testclient import TestClient
from mosaic.ledger.database import transaction
from mosaic.ledger.models import Job, Part
from PIL import Image
from sqlalchemy import func, select
from test_mosaic_pictures import bomb, encoded

JSON = {"Content-Type": "application/json"}
TEXT = {"Content-Type": "text/plain"}
WIDE_WEBP = encoded(Image.new("RGB", (6000, 4000)), "WEBP", method=0)
# One tile is decoded at once, also if it is larger than the picture.
TAGS = {256: 16, 257: 16, 258: 8, 259: 8, 262: 1, 277: 1, 322: 30_000, 323: 30_000, 324: 8, 325: 9}
HUGE_TILE = (
    struct.pack("<2sHIH", b"II", 42, 8, len(TAGS))
    + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in TAGS.items())
    + bytes(4)
)
SOUND_GIF = b"GIF89a\x01\x00\x01\x00\x00\x00\x00;"


def upload(data: bytes, sizes: str = "") -> dict[str, Any]:
    """Return the options of an upload."""
    return {"files": {"file": ("x.png", data)}, "data": {"sizes": sizes}}


def pieces(size: int) -> Iterator[bytes]:
    """Yield `size` bytes without saying how many, as a chunked body."""
    for _ in range(size // 1024):
        yield b"x" * 1024


REQUESTS: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("negative width", "render", {"json": {"width": -5}}, 422, "width: input should be greater"),
    ("zero height", "render", {"json": {"height": 0}}, 422, "height: input should be greater"),
    ("fractional width", "render", {"json": {"width": 100.5}}, 422, "width: input should be a valid integer"),
    (
        "text for a number",
        "render",
        {"json": {"center_x": "left"}},
        422,
        "center_x: input should be a valid number",
    ),
    ("unknown field", "render", {"json": {"colour": 1}}, 422, "colour is not a known field"),
    ("zoom beyond precision", "render", {"json": {"zoom": 1e15}}, 422, "the zoom is too deep"),
    ("zoom to nothing", "render", {"json": {"center_x": 0, "zoom": 1e308}}, 422, "the zoom is too deep"),
    (
        "zoom out of range",
        "render",
        {"content": b'{"zoom": 1e999}', "headers": JSON},
        422,
        "zoom: input should be",
    ),
    (
        "not a number",
        "render",
        {"content": b'{"center_x": NaN}', "headers": JSON},
        422,
        "center_x: input should be",
    ),
    ("negative zoom", "render", {"json": {"zoom": -1}}, 422, "zoom: input should be greater"),
    ("tiny zoom", "render", {"json": {"zoom": 1e-9}}, 422, "zoom is too small"),
    ("two widths", "render", {"json": {"zoom": 1, "width_units": 1}}, 422, "width_units or zoom, not both"),
    ("far away", "render", {"json": {"center_x": 1e6}}, 422, "center_x: input should be less"),
    ("too many tiles", "render", {"json": {"width": 4096, "height": 4096, "tile": 16}}, 422, "65536 tiles"),
    (
        "too many pixels",
        "render",
        {"json": {"width": 8192, "height": 8192, "tile": 512}},
        422,
        "67 megapixels",
    ),
    ("wide", "render", {"json": {"width": 100_000}}, 422, "width: input should be less"),
    ("too much work", "render", {"json": {"tile": 512, "iterations": 20_000}}, 422, "would take too long"),
    (
        "huge integer",
        "render",
        {"content": b'{"width": 1%s}' % (b"0" * 5000), "headers": JSON},
        400,
        "malformed",
    ),
    ("broken JSON", "render", {"content": b'{"width": ', "headers": JSON}, 422, "not valid JSON"),
    ("not UTF-8", "render", {"content": b'{"\xff": 1}', "headers": JSON}, 400, "malformed"),
    ("deep JSON", "render", {"content": b"[" * 60_000, "headers": JSON}, 400, "malformed"),
    ("a list", "render", {"json": [1]}, 422, "must be a JSON object"),
    ("null", "render", {"json": None}, 422, "the body"),
    ("no body", "render", {}, 422, "the body is missing"),
    ("a form", "render", {"data": {"width": "100"}}, 422, "must be a JSON object"),
    ("not an image", "scale", upload(b"hello world"), 422, "not a picture"),
    ("empty file", "scale", upload(b""), 422, "not a picture"),
    ("bomb", "scale", upload(bomb(20_000, 10_000)), 422, "200 megapixels"),
    ("no file", "scale", {"data": {"sizes": "64"}}, 422, "file is missing"),
    ("file as text", "scale", {"data": {"file": "hello"}}, 422, "file must be an uploaded file"),
    ("negative size", "scale", upload(SOUND_GIF, "-5"), 422, "whole numbers from 1 to 4096"),
    ("zero size", "scale", upload(SOUND_GIF, "0"), 422, "whole numbers from 1 to 4096"),
    ("large size", "scale", upload(SOUND_GIF, "100000000000"), 422, "whole numbers from 1 to 4096"),
    ("odd digits", "scale", upload(SOUND_GIF, "²"), 422, "whole numbers from 1 to 4096"),
    ("no number", "scale", upload(SOUND_GIF, " , "), 422, "sizes must be whole numbers"),
    ("many sizes", "scale", upload(SOUND_GIF, ",".join(map(str, range(1, 14)))), 422, "13 sizes"),
    (
        "broken upload",
        "scale",
        {"content": b"--x", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
        422,
        "file is missing",
    ),
    ("empty text", "digest", {"content": b" \n", "headers": TEXT}, 422, "the text is empty"),
    ("text not UTF-8", "digest", {"content": b"caf\xe9", "headers": TEXT}, 422, "not UTF-8 (byte 3)"),
    ("text as JSON", "digest", {"json": {"text": "x"}}, 415, "text/plain"),
    ("large text", "digest", {"content": b"x" * 1_100_000, "headers": TEXT}, 413, "larger than 1 MiB"),
    ("large stream", "digest", {"content": pieces(1_200_000), "headers": TEXT}, 413, "larger than 1 MiB"),
    ("large upload", "scale", upload(b"x" * 1_100_000), 413, "larger than 1 MiB"),
    ("large JSON", "render", {"content": pieces(1_200_000), "headers": JSON}, 413, "larger than 64 KiB"),
    ("many objects", "render", {"content": b"[" + b"{}," * 30_000, "headers": JSON}, 413, "larger than 64"),
    ("wide WebP", "scale", upload(WIDE_WEBP), 422, "MiB of memory; at most 256 are allowed: make"),
    ("TIFF with a huge tile", "scale", upload(HUGE_TILE), 422, "MiB of memory; at most 256"),
    ("unbroken text", "digest", {"content": b"x" * 1_000_000, "headers": TEXT}, 422, "KiB without a space"),
    ("primes up to nothing", "primes", {"json": {"up_to": 1}}, 422, "up_to: input should be greater"),
    ("too many primes", "primes", {"json": {"up_to": 10**13}}, 422, "up_to: input should be less"),
    ("no part", "primes", {"json": {"parts": 0}}, 422, "parts: input should be greater"),
    ("many parts", "primes", {"json": {"parts": 65}}, 422, "parts: input should be less"),
    ("a part too long", "primes", {"json": {"up_to": 10**12}}, 422, "ask for 10 parts"),
    ("half a number", "primes", {"json": {"up_to": 10000.5}}, 422, "up_to: input should be a valid integer"),
    ("unknown field of primes", "primes", {"json": {"from": 3}}, 422, "from is not a known field"),
    ("unknown kind", "paint", {"json": {}}, 405, "not possible"),
]


@pytest.mark.parametrize(
    ("path", "options", "status", "words"),
    [case[1:] for case in REQUESTS],
    ids=[case[0] for case in REQUESTS],
)
def test_wrong_submission(
    client: TestClient,
    publisher: RecordingPublisher,
    path: str,
    options: dict[str, Any],
    status: int,
    words: str,
) -> None:
    answer = client.post(f"/api/jobs/{path}", **options)
    assert (answer.status_code, list(answer.json())) == (status, ["error"]), answer.text
    sentence = answer.json()["error"]
    assert words in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert len(sentence) < 200
    assert publisher.calls == []
    with transaction() as session:
        assert session.scalar(select(func.count()).select_from(Job)) == 0
        assert session.scalar(select(func.count()).select_from(Part)) == 0


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        (f"/api/jobs/{uuid.UUID(int=5)}", 404, "there is no job"),
        ("/api/jobs/not-a-uuid", 404, "there is no job not-a-uuid"),
        (f"/api/jobs/{uuid.UUID(int=5)}/image", 404, "there is no job"),
        (f"/api/jobs/{uuid.UUID(int=5)}/result", 404, "there is no job"),
        (f"/api/jobs/{uuid.UUID(int=5)}/tiles/0.png", 404, "there is no job"),
        (f"/api/jobs/{uuid.UUID(int=5)}/tiles/x.png", 422, "index: input should be a valid integer"),
        (f"/api/jobs/{uuid.UUID(int=5)}/image?tint=rainbow", 422, "tint: input should be"),
        ("/api/jobs?limit=0", 422, "limit: input should be greater"),
        ("/api/jobs?limit=many", 422, "limit: input should be a valid integer"),
        ("/api/logs?severity=loud", 422, "severity: input should be"),
        ("/api/logs?limit=100000", 422, "limit: input should be less"),
        ("/api/nothing", 404, "there is nothing at /api/nothing"),
        ("/static/../config.py", 404, "there is nothing"),
        ("/static/%2e%2e/app.py", 404, "there is nothing"),
    ],
)
def test_wrong_query(client: TestClient, path: str, status: int, words: str) -> None:
    answer = client.get(path)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["error"]
