"""The gateway application, and serving it on its Unix socket."""

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

from celery_durable import systemd
from mosaic import __version__
from mosaic.config import Config, ConfigError
from mosaic.gateway import charts, dead_letters, errors, logs, pages
from mosaic.gateway.auth import SESSION_SECONDS, Account, RequireLogin
from mosaic.gateway.flow import routes as flow
from mosaic.gateway.flow.watch import FlowWatch
from mosaic.gateway.jobs import pictures, submit
from mosaic.gateway.jobs import routes as jobs
from mosaic.gateway.jobs.routes import LatestJobs
from mosaic.gateway.jobs.stream import SharedChanges
from mosaic.gateway.jobs.submit import Publish
from mosaic.gateway.lab import routes as lab
from mosaic.gateway.lab.watch import LabWatch
from mosaic.gateway.limits import Admission, BodyLimit
from mosaic.gateway.sse import Streams
from mosaic.kinds import KINDS

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# The limit without a login: a user name, a password and the next page.
LOGIN_BYTES = 16 * 1024
# Parsed JSON can need 20 times its size.
JSON_BYTES = 64 * 1024
FEATURES = (lab, submit, jobs, pictures, logs, dead_letters, charts, pages, flow)
SECURITY_HEADERS = (
    (b"content-security-policy", CONTENT_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class SecurityHeaders:
    """ASGI middleware: adds headers that forbid what the pages do not need, and control caching."""

    def __init__(self, app: ASGIApp) -> None:
        """Add to every answer of `app`."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and add the headers to its answer."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                # The browser checks files of pages for changes each time: names of modules have no version.
                cache = [(b"cache-control", b"no-cache")] if scope["path"].startswith("/static/") else []
                message["headers"] = [*message.get("headers", ()), *SECURITY_HEADERS, *cache]
            await send(message)

        await self.app(scope, receive, send_with_headers)


def create_gateway(config: Config, publish: Publish) -> FastAPI:
    """Return the gateway; `publish` publishes its tasks. Raises ConfigError without [gateway]."""
    settings = config.gateway
    if settings is None:
        raise ConfigError("the table [gateway] is missing.")
    watch = LabWatch(config)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.streams = Streams()
        app.state.latest_jobs = LatestJobs()
        app.state.job_changes = SharedChanges()
        watch.start()
        yield
        systemd.stopping()
        await watch.stop()

    app = FastAPI(title="Warren", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.publish = publish
    app.state.config = config
    app.state.watch = watch
    app.state.flow = FlowWatch(config, watch.brokers)
    app.state.account = Account(settings)
    app.state.submissions = Admission(8, 64, 1.0, "too many jobs are being submitted at once")
    # Each needs up to five times the size of its body until it is stored.
    app.state.uploads = Admission(2, 16, 10.0, "too many files are being uploaded at once")
    # The largest picture takes about 100 MB until it is sent.
    app.state.assemblies = Admission(2, 32, 10.0, "too many pictures are being assembled at once")
    app.state.max_running_jobs = settings.max_running_jobs
    errors.install(app)
    for router in (jobs.stream_router, *(feature.router for feature in FEATURES)):
        app.include_router(router)
    for kind in KINDS.values():
        app.mount(f"/static/kinds/{kind.name}", StaticFiles(directory=kind.static, check_dir=False))
    app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"), name="static")
    # The last one added runs first: headers, session, login, limit. So a body is read only after the login.
    uploads = [f"/api/jobs/{kind.name}" for kind in KINDS.values() if kind.uploads]
    limits = {"/login": LOGIN_BYTES, **dict.fromkeys(uploads, settings.max_body_mb * 2**20)}
    app.add_middleware(BodyLimit, max_bytes=JSON_BYTES, by_path=limits)
    app.add_middleware(RequireLogin, account=app.state.account)
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
    """Notifies systemd when the socket is open, which is later than the application's start-up."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        """Serve `app`."""
        super().__init__(config)
        self._app = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the socket, then report."""
        await super().startup(sockets=sockets)
        if self.started:
            systemd.ready(f"serving {self.config.uds}")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the event streams first; otherwise the server waits for them until its timeout."""
        self._app.state.streams.close()
        await super().shutdown(sockets=sockets)


def serve(config: Config, publish: Publish) -> None:
    """Serve on the Unix socket until SIGTERM. The web server in front of it logs failed requests."""
    app = create_gateway(config, publish)
    settings = uvicorn.Config(
        app,
        uds=config.gateway.socket if config.gateway else None,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=5,
        # Longer than nginx keeps an idle connection (60 s): a POST on a connection that closes is a 502.
        timeout_keep_alive=75,
    )
    NotifyingServer(settings, app).run()
