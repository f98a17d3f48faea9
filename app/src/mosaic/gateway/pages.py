"""Login, and the pages of the console."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from mosaic.gateway.auth import client_address, log_in, safe_next
from mosaic.gateway.deps import need_database
from mosaic.gateway.jobs.lookup import find_summary
from mosaic.gateway.templating import templates
from mosaic.gateway.tints import TINTS
from mosaic.kinds import KINDS, kind_of
from mosaic.logging_setup import SEVERITIES

router = APIRouter(include_in_schema=False)
MENU = (
    ("/", "Lab"),
    ("/jobs", "Jobs"),
    ("/workers", "Workers"),
    ("/flow", "Flow"),
    ("/queues", "Queues"),
    ("/failures", "Failures"),
    ("/logs", "Logs"),
    ("/periodic", "Periodic"),
    ("/charts", "Charts"),
)
#: Other web pages behind the same login. The last two exist only with a monitor.
GUARDED_PAGES = (("/rabbitmq/", "RabbitMQ"), ("/flower/", "Flower"), ("/prometheus/", "Prometheus"))
TINT_COLOURS = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in TINTS]


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Answer while the process runs. This checks no other service."""
    return {"status": "ok"}


@router.get("/auth")
async def logged_in() -> Response:
    """Answer 204 to the web server, which asks before it opens another page behind the login.

    RequireLogin has answered 401 already to a client that is not logged in.
    """
    return Response(status_code=204)


@router.get("/login")
def login_page(request: Request, target: Annotated[str, Query(alias="next")] = "/") -> Response:
    """Show the login form."""
    return templates.TemplateResponse(request, "login.html", {"next": safe_next(target), "error": ""})


@router.post("/login")
async def login(
    request: Request,
    username: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    target: Annotated[str, Form(alias="next")] = "/",
) -> Response:
    """Start a session, or show the form again with the error."""
    account = request.app.state.account
    refusal = await account.refuse(client_address(request.scope), username, password)
    if refusal is not None:
        status, sentence = refusal
        context = {"next": safe_next(target), "error": sentence}
        return templates.TemplateResponse(request, "login.html", context, status_code=status)
    log_in(request.session, username)
    return RedirectResponse(safe_next(target), 303)


@router.post("/logout")
def logout(request: Request) -> Response:
    """End the session."""
    request.session.clear()
    return RedirectResponse("/login", 303)


def shell(request: Request, page: str, title: str, template: str = "", **values: Any) -> Response:
    """Return a page with the script `page`, from `template` or the template of that name, with the menu."""
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


def _add_page(path: str, page: str, title: str) -> None:
    @router.get(path)
    async def show(request: Request) -> Response:
        return shell(request, page, title)


_add_page("/", "lab", "The lab")
_add_page("/workers", "workers", "Workers")
_add_page("/queues", "queues", "Queues")
_add_page("/failures", "failures", "Failed tasks")
_add_page("/periodic", "periodic", "Periodic tasks")
_add_page("/charts", "charts", "Alerts and charts")


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
    view = find_summary(job)
    title = f"{view.kind.capitalize()} of {view.created:%H:%M:%S} UTC"
    kind = kind_of(view.kind)
    return shell(request, "job", title, kind.template("result"), current="/jobs", job=view, kind=kind)


@router.get("/logs")
async def logs_page(request: Request) -> Response:
    """Show log records live."""
    hosts = request.app.state.watch.every_host
    return shell(request, "logs", "Logs", log_hosts=hosts, severities=SEVERITIES)
