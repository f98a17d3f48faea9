"""Login: accepted, refused and blocked clients."""

from __future__ import annotations

import time

import pytest
from conftest import RecordingPublisher
from fastapi.testclient import TestClient
from mosaic.gateway.auth import FailedLogins, safe_next

RIGHT = {"username": "lab", "password": "correct horse"}
HTML = {"Accept": "text/html"}


def log_in(client: TestClient, **changes: str) -> int:
    """Post the login form; return the status."""
    answer = client.post("/login", data={**RIGHT, **changes}, follow_redirects=False)
    return int(answer.status_code)


@pytest.mark.parametrize(
    "path", ["/api/jobs", "/api/logs", "/api/beat", "/openapi.json", "/", "/docs", "/api/jobs/x/image"]
)
def test_nothing_without_login(anonymous: TestClient, path: str) -> None:
    answer = anonymous.get(path, follow_redirects=False)
    assert answer.status_code == 401
    assert answer.json()["error"].startswith("login is required")
    assert answer.headers["www-authenticate"].startswith("Basic")


def test_submission_without_login_is_not_even_read(
    anonymous: TestClient, publisher: RecordingPublisher
) -> None:
    assert anonymous.post("/api/jobs/render", content=b"{broken").status_code == 401
    assert publisher.calls == []


def test_login_takes_no_more_than_a_login(anonymous: TestClient) -> None:
    answer = anonymous.post("/login", data={"username": "lab", "password": "x" * 20_000})
    assert (answer.status_code, answer.json()["error"]) == (413, "the body is larger than 16 KiB.")


def test_browser_is_led_to_the_form_and_back(anonymous: TestClient) -> None:
    answer = anonymous.get("/", headers=HTML, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/")
    assert 'name="password"' in anonymous.get("/login").text
    landed = anonymous.post("/login", data=RIGHT)
    assert landed.status_code == 200
    assert 'id="workers"' in landed.text


def test_session_cookie_is_guarded(anonymous: TestClient) -> None:
    answer = anonymous.post("/login", data=RIGHT, follow_redirects=False)
    cookie = answer.headers["set-cookie"].lower()
    for flag in ("httponly", "secure", "samesite=strict", "max-age=43200"):
        assert flag in cookie
    assert "correct horse" not in cookie
    assert anonymous.get("/api/jobs").status_code == 200


def test_session_ends_whatever_is_renewed(anonymous: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    log_in(anonymous)
    began = time.time()
    monkeypatch.setattr("mosaic.gateway.auth.time.time", lambda: began + 12 * 3600 - 60)
    assert anonymous.get("/api/jobs").status_code == 200
    monkeypatch.setattr("mosaic.gateway.auth.time.time", lambda: began + 12 * 3600 + 60)
    assert anonymous.get("/api/jobs").status_code == 401


def test_logout_ends_the_session(anonymous: TestClient) -> None:
    log_in(anonymous)
    anonymous.post("/logout")
    assert anonymous.get("/api/jobs").status_code == 401


def test_forged_cookie_is_refused(anonymous: TestClient) -> None:
    log_in(anonymous)
    value = anonymous.cookies["mosaic_session"]
    anonymous.cookies.clear()
    anonymous.cookies.set("mosaic_session", value[:-3] + "AAA")
    assert anonymous.get("/api/jobs").status_code == 401


@pytest.mark.parametrize(
    "wrong", [{"password": "wrong"}, {"username": "root"}, {"password": ""}, {"password": "ÿ"}]
)
def test_wrong_login(anonymous: TestClient, wrong: dict[str, str]) -> None:
    answer = anonymous.post("/login", data={**RIGHT, **wrong})
    assert answer.status_code == 401
    assert "User name or password is wrong." in answer.text
    assert anonymous.get("/api/jobs").status_code == 401
    anonymous.auth = ({**RIGHT, **wrong}["username"], {**RIGHT, **wrong}["password"])
    assert anonymous.get("/api/jobs").status_code == 401


@pytest.mark.parametrize("header", ["Basic", "Basic !!!", "Basic /w==", "Bearer x", "Basic bGFi"])
def test_broken_authorization_header(anonymous: TestClient, header: str) -> None:
    assert anonymous.get("/api/jobs", headers={"Authorization": header}).status_code == 401


def test_guessing_is_slowed_down(anonymous: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mosaic.gateway.auth.GUESS_SECONDS", 0.3)
    statuses = [log_in(anonymous, password=f"guess {number}") for number in range(12)]
    assert statuses == [401] * 10 + [429] * 2
    started = time.monotonic()
    answer = anonymous.get("/api/jobs", auth=("lab", "wrong"))
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")
    assert time.monotonic() - started >= 0.3


def test_right_credentials_pass_after_wrong_ones_of_the_same_address(
    anonymous: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In Docker, all clients of this machine have one address."""
    monkeypatch.setattr("mosaic.gateway.auth.GUESS_SECONDS", 0.0)
    for number in range(20):
        log_in(anonymous, password=f"guess {number}")
    right = ("lab", "correct horse")
    assert anonymous.get("/api/jobs", auth=right).status_code == 200
    assert anonymous.get("/auth", headers={"Accept": "application/json"}, auth=right).status_code == 204
    # A user who works does not reset the count of one who guesses.
    assert log_in(anonymous, password="guess") == 429
    assert log_in(anonymous) == 303


def test_failures_are_counted_for_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("mosaic.gateway.auth.time.monotonic", lambda: now[0])
    failed = FailedLogins(failures=2, seconds=60)
    assert [failed.are_too_many("10.0.0.1") for _ in range(3)] == [False, False, True]
    assert not failed.are_too_many("10.0.0.2")
    now[0] = 61
    assert [failed.are_too_many("10.0.0.1") for _ in range(3)] == [False, False, True]


def test_failures_of_a_limited_number_of_clients_are_counted() -> None:
    failed = FailedLogins(clients=10)
    for number in range(100):
        failed.are_too_many(str(number))
    assert len(failed._seen) == 10


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://console.lab:444"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_sites_cannot_submit(
    anonymous: TestClient, publisher: RecordingPublisher, headers: dict[str, str]
) -> None:
    log_in(anonymous)
    assert anonymous.post("/api/jobs/render", json={}, headers=headers).status_code == 403
    assert anonymous.post("/login", data=RIGHT, headers=headers).status_code == 403
    assert publisher.calls == []


def test_own_site_can_submit(anonymous: TestClient) -> None:
    log_in(anonymous)
    headers = {"Origin": "https://console.lab", "Sec-Fetch-Site": "same-origin"}
    assert anonymous.post("/api/jobs/render", json={}, headers=headers).status_code == 202


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "x", "", "/a\nb"]
)
def test_login_leads_to_this_site_only(target: str) -> None:
    assert safe_next(target) == "/"


def test_login_page_escapes_what_it_shows(anonymous: TestClient) -> None:
    page = anonymous.get("/login", params={"next": '/"><script>alert(1)</script>'})
    assert "<script>alert" not in page.text


def test_web_server_is_told_who_is_logged_in(anonymous: TestClient) -> None:
    """Its question carries the browser's cookie or credentials, and asks for JSON: a status, no redirect."""
    accept = {"Accept": "application/json"}
    assert anonymous.get("/auth", headers=accept, follow_redirects=False).status_code == 401
    assert anonymous.get("/auth", headers=accept, auth=("lab", "wrong")).status_code == 401
    assert anonymous.get("/auth", headers=accept, auth=("lab", "correct horse")).status_code == 204
    log_in(anonymous)
    assert anonymous.get("/auth", headers=accept).status_code == 204
