"""Invalid input gets a 4xx status with one sentence, and creates no job."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.lab.pictures import SIGNATURE, chunk, png

JOB = "00000000-0000-4000-8000-000000000000"
BOMB = SIGNATURE + chunk(b"IHDR", bytes.fromhex("00004e20 00002710 08 02 00 00 00")) + chunk(b"IEND", b"")


@pytest.fixture(autouse=True, scope="module")
def nothing_is_queued(console: httpx.Client) -> Iterator[None]:
    """The list of jobs is the same before and after the tests of this module."""
    before = jobs(console)
    yield
    assert jobs(console) == before


def jobs(console: httpx.Client) -> list[str]:
    """The latest jobs."""
    return [job["job"] for job in console.get("/api/jobs", params={"limit": 50}).json()["jobs"]]


def assert_refused(answer: httpx.Response, *statuses: int) -> str:
    """The answer has one of these statuses and one sentence; returns the sentence."""
    assert answer.status_code in statuses, answer.text
    sentence = answer.json()["error"]
    assert list(answer.json()) == ["error"]
    assert sentence.endswith("."), sentence
    assert "\n" not in sentence
    assert not re.search(r"Traceback|psycopg|sqlalchemy|/opt/|File \"", sentence)
    return str(sentence)


@pytest.mark.parametrize(
    "wanted",
    [
        {"zoom": 1e300},
        {"zoom": 1e17},
        {"zoom": 0},
        {"zoom": -1},
        {"zoom": 1e-9},
        {"width_units": -1},
        {"width_units": 1, "zoom": 2},
        {"width": -800},
        {"width": 0},
        {"width": 10**9},
        {"width": 8192, "height": 8192},
        {"height": 1.5},
        {"tile": 0},
        {"tile": 16, "width": 8192, "height": 3000},
        {"iterations": 0},
        {"iterations": 10**12},
        {"iterations": "many"},
        {"center_x": 1e30},
        {"center_x": None},
        {"colour": "red"},
        [],
        "a text",
        None,
    ],
    ids=str,
)
def test_render(console: httpx.Client, wanted: Any) -> None:
    assert_refused(console.post("/api/jobs/render", json=wanted), 422)


@pytest.mark.parametrize("body", ["", "{", '{"zoom": NaN}', '{"zoom": Infinity}', '{"width": 1e400}', "\x00"])
def test_render_of_what_is_no_json(console: httpx.Client, body: str) -> None:
    answer = console.post("/api/jobs/render", content=body, headers={"Content-Type": "application/json"})
    assert_refused(answer, 400, 422)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a picture",
        b"\x89PNG\r\n\x1a\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7\n",
    ],
)
def test_scale_of_what_is_no_picture(console: httpx.Client, data: bytes) -> None:
    answer = console.post("/api/jobs/scale", files={"file": ("picture.png", data, "image/png")})
    assert "picture" in assert_refused(answer, 422)


def test_scale_of_a_bomb_of_200_megapixels(console: httpx.Client) -> None:
    answer = console.post("/api/jobs/scale", files={"file": ("bomb.png", BOMB, "image/png")})
    assert "200 megapixels" in assert_refused(answer, 422)


@pytest.mark.parametrize(
    "sizes", ["-64", "0", "abc", "64;128", "99999", "1.5", ",".join(map(str, range(1, 40)))]
)
def test_scale_to_impossible_sizes(console: httpx.Client, sizes: str) -> None:
    picture = {"file": ("picture.png", png(8, 8), "image/png")}
    assert "size" in assert_refused(
        console.post("/api/jobs/scale", files=picture, data={"sizes": sizes}), 422
    )


def test_scale_without_a_file(console: httpx.Client) -> None:
    assert "file" in assert_refused(console.post("/api/jobs/scale", data={"sizes": "64"}), 422)


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"", "text/plain", 422),
        (b" \n\t ", "text/plain", 422),
        (b"\xff\xfe\x00binary", "text/plain", 422),
        (b'{"text": "words"}', "application/json", 415),
        (b"words", "", 415),
    ],
)
def test_digest(console: httpx.Client, content: bytes, kind: str, status: int) -> None:
    headers = {"Content-Type": kind} if kind else {}
    assert_refused(console.post("/api/jobs/digest", content=content, headers=headers), status)


@pytest.mark.parametrize(
    "wanted",
    [
        {"up_to": 1},
        {"up_to": 10**13},
        {"up_to": 1e30},
        {"up_to": 10**12, "parts": 9},
        {"parts": 0},
        {"parts": 65},
        {"parts": 1.5},
        {"from": 2},
    ],
    ids=str,
)
def test_primes(console: httpx.Client, wanted: Any) -> None:
    assert_refused(console.post("/api/jobs/primes", json=wanted), 422)


@pytest.mark.parametrize("megabytes", [33, 64])
def test_body_that_is_too_large(console: httpx.Client, megabytes: int) -> None:
    """Below and above the limit up to which nginx forwards a body."""
    text = b"word " * (megabytes * 2**20 // 5)
    answer = console.post("/api/jobs/digest", content=text, headers={"Content-Type": "text/plain"})
    assert "larger than 32" in assert_refused(answer, 413)


@pytest.mark.parametrize("job", [JOB, "abc", "1", "..%2f..%2fetc", "x" * 500])
@pytest.mark.parametrize("rest", ["", "/image", "/result", "/tiles/0.png"])
def test_unknown_job(console: httpx.Client, job: str, rest: str) -> None:
    assert_refused(console.get(f"/api/jobs/{job}{rest}"), 404)


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=-1", "limit=1000000000", "limit=many", "severity=loud", f"host={'h' * 100}"],
)
def test_logs(console: httpx.Client, query: str) -> None:
    assert_refused(console.get(f"/api/logs?{query}"), 422)


def test_logs_of_a_host_that_does_not_exist_are_none(console: httpx.Client) -> None:
    assert console.get("/api/logs?host=';DROP TABLE job;--").json() == {"records": []}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", "/api/jobs/render", 405),
        ("DELETE", f"/api/jobs/{JOB}", 405),
        ("GET", "/api/nothing", 404),
        ("GET", "/.git/config", 404),
        ("GET", "/docs", 404),
    ],
)
def test_unknown_path_or_method(console: httpx.Client, method: str, path: str, status: int) -> None:
    assert_refused(console.request(method, path), status)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/jobs/render"),
        ("POST", "/api/jobs/scale"),
        ("POST", "/api/jobs/digest"),
        ("POST", "/api/jobs/primes"),
        ("GET", "/api/jobs"),
        ("GET", f"/api/jobs/{JOB}/image"),
        ("GET", "/api/logs"),
        ("GET", "/api/beat"),
    ],
)
def test_api_without_a_login(stranger: httpx.Client, method: str, path: str) -> None:
    assert "login" in assert_refused(stranger.request(method, path), 401)


def test_request_from_another_site(console: httpx.Client) -> None:
    answer = console.post("/api/jobs/render", json={}, headers={"Origin": "https://elsewhere.example"})
    assert_refused(answer, 403)


def test_page_without_a_login_redirects_to_the_login(stranger: httpx.Client) -> None:
    answer = stranger.get("/", headers={"Accept": "text/html"}, follow_redirects=True)
    assert answer.status_code == 200
    assert answer.url.path == "/login"
    assert 'type="password"' in answer.text


def test_forged_session(stranger: httpx.Client) -> None:
    cookie = "mosaic_session=eyJ1c2VyIjogImxhYiJ9.aaaaaa.bbbbbbbb"
    answer = stranger.get("/api/jobs", headers={"Cookie": cookie})
    assert_refused(answer, 401)
