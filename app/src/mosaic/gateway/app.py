"""Putting the gateway together, and serving it on its unix socket."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from celery_durable import systemd
from mosaic import __version__
from mosaic.config import Config, ConfigError
from mosaic.gateway import auth_request, errors, pages
from mosaic.gateway.auth import SESSION_SECONDS, Credentials, LoginThrottle, RequireLogin
from mosaic.gateway.charts import routes as charts
from mosaic.gateway.charts.prometheus import Prometheus
from mosaic.gateway.jobs import pictures, submit
from mosaic.gateway.jobs import routes as jobs
from mosaic.gateway.jobs.admission import Admission
from mosaic.gateway.jobs.listing import LatestJobs
from mosaic.gateway.jobs.submit import Publish
from mosaic.gateway.lab import routes as lab
from mosaic.gateway.lab.management import trust
from mosaic.gateway.lab.watch import LabWatch
from mosaic.gateway.limits import BodyLimit
from mosaic.gateway.logs import routes as logs
from mosaic.gateway.periodic import routes as periodic
from mosaic.gateway.queues import dead_letters
from mosaic.gateway.queues import routes as queues
from mosaic.gateway.sse import Streams
from mosaic.kinds import KINDS

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# What anybody may send, without a login: a name, a password and where to go.
LOGIN_BYTES = 16 * 1024
FEATURES = (
    lab,
    submit,
    jobs,
    pictures,
    logs,
    queues,
    dead_letters,
    periodic,
    charts,
    auth_request,
    pages,
)
SECURITY_HEADERS = (
    (b"content-security-policy", CONTENT_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Static(StaticFiles):
    """Files of the pages. A browser asks each time whether they are the same: modules name no version."""

    def file_response(self, *arguments: Any, **options: Any) -> Response:
        """Return the file, or 304."""
        response = super().file_response(*arguments, **options)
        response.headers["Cache-Control"] = "no-cache"
        return response


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


def create_gateway(config: Config, publish: Publish) -> FastAPI:
    """Return the gateway; `publish` publishes its tasks. Raises ConfigError without [gateway]."""
    settings = config.gateway
    if settings is None:
        raise ConfigError("the table [gateway] is missing.")
    watch = LabWatch(config)
    prometheus = make_prometheus(config)
    watch.prometheus = prometheus

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.streams = Streams()
        app.state.job_list = LatestJobs()
        watch.start()
        app.state.prometheus = prometheus
        yield
        systemd.stopping()
        await watch.stop()
        if prometheus is not None:
            await prometheus.close()

    app = FastAPI(title="mosaic", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.publish = publish
    app.state.config = config
    app.state.watch = watch
    app.state.submissions = Admission(8, 64, 1.0, "too many jobs are being submitted at once")
    # The largest picture takes some 100 MB until it is sent.
    app.state.assemblies = Admission(2, 32, 10.0, "too many pictures are being put together at once")
    app.state.max_running_jobs = settings.max_running_jobs
    app.state.credentials = Credentials(settings)
    app.state.throttle = LoginThrottle()
    errors.install(app)
    for router in (jobs.stream_router, *(feature.router for feature in FEATURES)):
        app.include_router(router)
    for kind in KINDS.values():
        app.mount(f"/static/kinds/{kind.name}", Static(directory=kind.static, check_dir=False))
    app.mount("/static", Static(directory=Path(__file__).parent / "static"), name="static")
    # The last one added is the outermost: headers, session, login, limit. A body is read after login only.
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_mb * 2**20, by_path={"/login": LOGIN_BYTES})
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


def make_prometheus(config: Config) -> Prometheus | None:
    """Return the client of the lab's monitor; None where none is set up."""
    if not config.lab.prometheus_url:
        return None
    context = trust(config.lab) if config.lab.prometheus_url.startswith("https:") else None
    return Prometheus(config.lab, context)


class NotifyingServer(uvicorn.Server):
    """Tells systemd when the socket is open, which is later than the end of the application's start-up."""

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
        """End the event streams first: the server would wait for them until its patience ends."""
        self._app.state.streams.close()
        await super().shutdown(sockets=sockets)


def serve(config: Config, publish: Publish) -> None:
    """Serve on the unix socket until SIGTERM; the proxy in front writes the access log."""
    app = create_gateway(config, publish)
    settings = uvicorn.Config(
        app,
        uds=config.gateway.socket if config.gateway else None,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=5,
        # Longer than nginx keeps an idle connection (60 s): a POST on one that just closes is a 502.
        timeout_keep_alive=75,
    )
    NotifyingServer(settings, app).run()
