"""Login: a session cookie for people, HTTP Basic for scripts; everything else is refused.

Requests from other sites are refused by the cookie's SameSite=Strict and by their Origin.
"""

from __future__ import annotations

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
CHALLENGE = {"WWW-Authenticate": 'Basic realm="mosaic", charset="UTF-8"'}


class LoginThrottle:
    """Counts failed logins by client address: past `failures` within `seconds`, no more are tried."""

    def __init__(self, failures: int = 10, seconds: float = 60.0, clients: int = 1000) -> None:
        """Keep at most `clients` addresses."""
        self._failures = failures
        self._seconds = seconds
        self._clients = clients
        self._seen: dict[str, deque[float]] = {}

    def blocked(self, client: str) -> bool:
        """Return whether `client` has to wait."""
        times = self._seen.get(client)
        if times is None:
            return False
        while times and times[0] < time.monotonic() - self._seconds:
            times.popleft()
        return len(times) >= self._failures

    def failed(self, client: str) -> None:
        """Count a failure of `client`."""
        if client not in self._seen and len(self._seen) >= self._clients:
            self._seen.pop(next(iter(self._seen)))
        self._seen.setdefault(client, deque(maxlen=self._failures)).append(time.monotonic())

    def succeeded(self, client: str) -> None:
        """Forget the failures of `client`."""
        self._seen.pop(client, None)


class Credentials:
    """The one account, compared in constant time."""

    def __init__(self, settings: Gateway) -> None:
        """Check against the configured account."""
        self._username = settings.username.encode()
        self._password = settings.password.encode()

    def match(self, username: str, password: str) -> bool:
        """Return whether both are right; takes the same time whichever is wrong."""
        name_is_right = secrets.compare_digest(username.encode("utf-8", "replace"), self._username)
        password_is_right = secrets.compare_digest(password.encode("utf-8", "replace"), self._password)
        return name_is_right & password_is_right


def client_address(scope: Scope) -> str:
    """Return the client's address: the peer's, or behind the proxy's unix socket the one it names."""
    peer = scope.get("client")
    if peer and peer[0]:
        return str(peer[0])
    return Headers(scope=scope).get("x-real-ip", "proxy")


def is_cross_site(headers: Headers) -> bool:
    """Return whether a browser sent this request for another site."""
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
    """Return whether the session is one, and not too old: each answer renews the cookie, but not this."""
    since = session.get(SINCE_KEY)
    return bool(session.get(SESSION_KEY)) and isinstance(since, int) and since > time.time() - SESSION_SECONDS


class RequireLogin:
    """ASGI middleware: lets a request pass that has a session or right Basic credentials."""

    def __init__(self, app: ASGIApp, credentials: Credentials, throttle: LoginThrottle) -> None:
        """Guard `app`."""
        self.app = app
        self.credentials = credentials
        self.throttle = throttle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401, 403, 429, or a redirect to the login page."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        await (refusal or self.app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if scope["method"] not in SAFE_METHODS and is_cross_site(headers):
            return error_response(403, "this request comes from another site.")
        path = scope["path"]
        if any(path == known or (known.endswith("/") and path.startswith(known)) for known in OPEN_PATHS):
            return None
        if is_logged_in(scope["session"]):
            return None
        basic = _basic_credentials(headers.get("authorization", ""))
        if basic is not None:
            return self._check_basic(client_address(scope), *basic)
        if scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
            return RedirectResponse(f"/login?next={quote(path)}", 303)
        return error_response(401, "login is required: send HTTP Basic credentials or a session.", CHALLENGE)

    def _check_basic(self, client: str, username: str, password: str) -> Response | None:
        if self.throttle.blocked(client):
            return error_response(429, TOO_MANY_FAILURES, {"Retry-After": "60"})
        if self.credentials.match(username, password):
            self.throttle.succeeded(client)
            return None
        self.throttle.failed(client)
        return error_response(401, "user name or password is wrong.", CHALLENGE)


TOO_MANY_FAILURES = "too many failed logins from this address; wait a minute."


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
    """Return a path of this site to go to after login, `/` for anything else."""
    text = str(target or "/")
    is_local = text.startswith("/") and not text.startswith(("//", "/\\")) and "\n" not in text
    return text if is_local else "/"
