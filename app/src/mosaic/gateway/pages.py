"""Login, and the frame of every page."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from mosaic.gateway.auth import TOO_MANY_FAILURES, client_address, log_in, safe_next
from mosaic.gateway.deps import need_database
from mosaic.gateway.jobs.lookup import job_id, unknown
from mosaic.gateway.templating import templates
from mosaic.gateway.tints import TINTS
from mosaic.kinds import KINDS, kind_of
from mosaic.ledger import jobs
from mosaic.ledger.database import transaction
from mosaic.logging_setup import SEVERITIES

router = APIRouter(include_in_schema=False)
MENU = (
    ("/", "Lab"),
    ("/jobs", "Jobs"),
    ("/queues", "Queues"),
    ("/logs", "Logs"),
    ("/periodic", "Periodic"),
    ("/charts", "Charts"),
)
#: What the web server opens to who is logged in here, see auth_request.py; the last two are the monitor's.
GUARDED_PAGES = (("/rabbitmq/", "RabbitMQ"), ("/flower/", "Flower"), ("/prometheus/", "Prometheus"))
TINT_COLOURS = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in TINTS]


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Say that the process answers; nothing about what it depends on."""
    return {"status": "ok"}


@router.get("/login")
def login_page(request: Request, target: Annotated[str, Query(alias="next")] = "/") -> Response:
    """Show the login form."""
    return templates.TemplateResponse(request, "login.html", {"next": safe_next(target), "error": ""})


@router.post("/login")
def login(
    request: Request,
    username: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    target: Annotated[str, Form(alias="next")] = "/",
) -> Response:
    """Start a session, or show the form again with what was wrong."""
    state = request.app.state
    client = client_address(request.scope)
    if state.throttle.blocked(client):
        return _login_again(request, target, 429, TOO_MANY_FAILURES)
    if not state.credentials.match(username, password):
        state.throttle.failed(client)
        return _login_again(request, target, 401, "user name or password is wrong.")
    state.throttle.succeeded(client)
    log_in(request.session, username)
    return RedirectResponse(safe_next(target), 303)


def _login_again(request: Request, target: str, status: int, sentence: str) -> Response:
    return templates.TemplateResponse(
        request, "login.html", {"next": safe_next(target), "error": sentence}, status_code=status
    )


@router.post("/logout")
def logout(request: Request) -> Response:
    """End the session."""
    request.session.clear()
    return RedirectResponse("/login", 303)


def shell(request: Request, page: str, title: str, template: str = "", **values: Any) -> Response:
    """Return the page of script `page`, and template `page` or another, in the frame that all pages share."""
    context = {
        "page": page,
        "title": title,
        "menu": MENU,
        "guarded_pages": GUARDED_PAGES if request.app.state.config.lab.prometheus_url else GUARDED_PAGES[:1],
        "current": values.pop("current", request.url.path),
        "tints": ",".join(TINT_COLOURS),
        "hosts": ",".join(request.app.state.watch.hosts),
        **values,
    }
    return templates.TemplateResponse(request, template or f"{page}.html", context)


@router.get("/")
async def lab(request: Request) -> Response:
    """Show the lab."""
    return shell(request, "lab", "The lab")


@router.get("/jobs")
async def jobs_page(request: Request) -> Response:
    """Show forms, finished pictures, and the latest jobs."""
    settings = request.app.state.config.gateway
    kinds = list(KINDS.values())
    captions = {kind.name: kind.caption for kind in kinds if kind.picture}
    return shell(request, "jobs", "Jobs", kinds=kinds, captions=captions, max_body_mb=settings.max_body_mb)


@router.get("/jobs/{job}", dependencies=[Depends(need_database)])
def job_page(request: Request, job: str) -> Response:
    """Show one job."""
    with transaction() as session:
        view = jobs.find(session, job_id(job))
    if view is None:
        raise unknown(job)
    title = f"{view.kind.capitalize()} of {view.created:%H:%M:%S} UTC"
    kind = kind_of(view.kind)
    return shell(request, "job", title, kind.template("result"), current="/jobs", job=view, kind=kind)


@router.get("/queues")
async def queues_page(request: Request) -> Response:
    """Show queues and dead letters."""
    return shell(request, "queues", "Queues")


@router.get("/logs")
async def logs_page(request: Request) -> Response:
    """Show log records as they come."""
    config = request.app.state.config
    hosts = sorted({*request.app.state.watch.hosts, config.host})
    return shell(request, "logs", "Logs", log_hosts=hosts, severities=SEVERITIES)


@router.get("/periodic")
async def periodic_page(request: Request) -> Response:
    """Show what beat does."""
    return shell(request, "periodic", "Periodic work")


@router.get("/charts")
async def charts_page(request: Request) -> Response:
    """Show alerts and charts."""
    return shell(request, "charts", "Alerts and charts")
