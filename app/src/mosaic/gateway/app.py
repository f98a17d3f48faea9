"""Putting the gateway together, and serving it on its unix socket."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from starlette.middleware.sessions import SessionMiddleware
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mosaic import __version__, systemd
from mosaic.config import Gateway
from mosaic.gateway import doors, errors, pages, queries, submissions
from mosaic.gateway.auth import SESSION_SECONDS, Credentials, LoginThrottle, RequireLogin
from mosaic.gateway.limits import BodyLimit
from mosaic.publisher import Publisher

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY_HEADERS = (
    (b"content-security-policy", CONTENT_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class SecurityHeaders:
    """ASGI middleware: adds the headers that forbid what no page here needs."""

    def __init__(self, app: ASGIApp) -> None:
        """Add to every answer of `app`."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and add the headers to its answer."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *SECURITY_HEADERS]
            await send(message)

        await self.app(scope, receive, send_with_headers)


def create_gateway(settings: Gateway, publisher: Publisher) -> FastAPI:
    """Return the gateway; it closes `publisher` when it ends."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        systemd.stopping()
        publisher.close()

    app = FastAPI(title="mosaic", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.publisher = publisher
    app.state.credentials = Credentials(settings)
    app.state.throttle = LoginThrottle()
    errors.install(app)
    app.include_router(submissions.router)
    app.include_router(queries.router)
    app.include_router(pages.router)
    app.include_router(doors.router)
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")
    # The last one added is the outermost: headers, session, login, limit. A body is read after login only.
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_mb * 2**20)
    app.add_middleware(RequireLogin, credentials=app.state.credentials, throttle=app.state.throttle)
    app.add_middleware(
        SessionMiddleware,
        secret_key=settings.session_key,
        session_cookie="mosaic_session",
        max_age=SESSION_SECONDS,
        same_site="strict",
        https_only=True,
    )
    app.add_middleware(SecurityHeaders)
    return app


class NotifyingServer(uvicorn.Server):
    """Tells systemd when the socket is open, which is later than the end of the application's start-up."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the socket, then report."""
        await super().startup(sockets=sockets)
        if self.started:
            systemd.ready(f"serving {self.config.uds}")


def serve(settings: Gateway, publisher: Publisher) -> None:
    """Serve on the unix socket until SIGTERM; the proxy in front writes the access log."""
    config = uvicorn.Config(
        create_gateway(settings, publisher),
        uds=settings.socket,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    NotifyingServer(config).run()
