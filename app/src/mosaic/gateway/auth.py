"""Login: a session cookie for people, HTTP Basic for scripts.

The cookie has SameSite=Strict, and requests whose Origin is another site are refused.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import secrets
import time
from collections import deque
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from mosaic.config import Gateway
from mosaic.gateway.errors import error_response

SESSION_KEY = "user"
SINCE_KEY = "since"
SESSION_SECONDS = 12 * 3600
OPEN_PATHS = ("/healthz", "/login", "/static/")
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
# A client that failed too often waits so long for each further refusal.
GUESS_SECONDS = 1.0
CHALLENGE = {"WWW-Authenticate": 'Basic realm="Warren", charset="UTF-8"'}


class FailedLogins:
    """Counts failed logins by client address."""

    def __init__(self, failures: int = 10, seconds: float = 60.0, clients: int = 1000) -> None:
        """More than `failures` within `seconds` are too many. Keep at most `clients` addresses."""
        self._failures = failures
        self._seconds = seconds
        self._clients = clients
        self._seen: dict[str, deque[float]] = {}

    def are_too_many(self, client: str) -> bool:
        """Count a failure of `client`; return whether it has too many."""
        if client not in self._seen and len(self._seen) >= self._clients:
            self._seen.pop(next(iter(self._seen)))
        times = self._seen.setdefault(client, deque(maxlen=self._failures + 1))
        times.append(time.monotonic())
        return len(times) > self._failures and times[0] > time.monotonic() - self._seconds


class Account:
    """The one account, compared in constant time and protected against guessing.

    The right password is accepted whatever other clients of the same address sent: behind a proxy, and in
    containers, all users have one address. So a password must be long; wrong ones are answered late.
    """

    def __init__(self, settings: Gateway) -> None:
        """Check against the configured account."""
        self._username = settings.username.encode()
        self._password = settings.password.encode()
        self._failed = FailedLogins()

    async def refuse(self, client: str, username: str, password: str) -> tuple[int, str] | None:
        """Return HTTP status and sentence for a refused login; None for a correct one."""
        name_is_right = secrets.compare_digest(username.encode("utf-8", "replace"), self._username)
        password_is_right = secrets.compare_digest(password.encode("utf-8", "replace"), self._password)
        if name_is_right & password_is_right:
            return None
        if not self._failed.are_too_many(client):
            return 401, "user name or password is wrong."
        await asyncio.sleep(GUESS_SECONDS)
        return 429, "user name or password is wrong, and too many logins failed; wait a minute."


def client_address(scope: Scope) -> str:
    """Return the client's address. On the Unix socket the web server sends it in a header."""
    peer = scope.get("client")
    if peer and peer[0]:
        return str(peer[0])
    return Headers(scope=scope).get("x-real-ip", "proxy")


def is_cross_site(headers: Headers) -> bool:
    """Return whether another site made a browser send this request."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("host", "")


def log_in(session: dict[str, Any], username: str) -> None:
    """Start a session."""
    session.clear()
    session[SESSION_KEY] = username
    session[SINCE_KEY] = int(time.time())


def is_logged_in(session: dict[str, Any]) -> bool:
    """Return whether the session is logged in and not too old. A renewed cookie keeps the login's time."""
    since = session.get(SINCE_KEY)
    return bool(session.get(SESSION_KEY)) and isinstance(since, int) and since > time.time() - SESSION_SECONDS


class RequireLogin:
    """ASGI middleware: passes on requests with a session or with correct Basic credentials."""

    def __init__(self, app: ASGIApp, account: Account) -> None:
        """Protect `app`."""
        self.app = app
        self.account = account

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401, 403, 429, or a redirect to the login page."""
        refusal = await self._refusal(scope) if scope["type"] == "http" else None
        await (refusal or self.app)(scope, receive, send)

    async def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if scope["method"] not in SAFE_METHODS and is_cross_site(headers):
            return error_response(403, "this request comes from another site.")
        path = scope["path"]
        is_open = any(
            path == known or (known.endswith("/") and path.startswith(known)) for known in OPEN_PATHS
        )
        if is_open or is_logged_in(scope["session"]):
            return None
        basic = _basic_credentials(headers.get("authorization", ""))
        if basic is not None:
            refusal = await self.account.refuse(client_address(scope), *basic)
            hint = CHALLENGE if refusal and refusal[0] == 401 else {"Retry-After": "60"}
            return error_response(*refusal, hint) if refusal else None
        if scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
            return RedirectResponse(f"/login?next={quote(path)}", 303)
        return error_response(401, "login is required: send HTTP Basic credentials or a session.", CHALLENGE)


def _basic_credentials(header: str) -> tuple[str, str] | None:
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        username, _, password = base64.b64decode(value, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return username, password


def safe_next(target: Any) -> str:
    """Return the path to open after login: `target` if it is a path of this site, otherwise `/`."""
    text = str(target or "/")
    is_local = text.startswith("/") and not text.startswith(("//", "/\\")) and "\n" not in text
    return text if is_local else "/"
