"""The pages: login and the console."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.templating import Jinja2Templates

from mosaic import __version__
from mosaic.assemble import TINTS
from mosaic.gateway.auth import SESSION_KEY, TOO_MANY_FAILURES, client_address, safe_next
from mosaic.gateway.presets import PRESETS

router = APIRouter(include_in_schema=False)
templates = Jinja2Templates(Path(__file__).parent / "templates")
templates.env.globals["version"] = __version__
TINT_COLOURS = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in TINTS]


@router.get("/healthz")
def healthz() -> dict[str, str]:
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
    request.session.clear()
    request.session[SESSION_KEY] = username
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


@router.get("/")
def console(request: Request) -> Response:
    """Show the console."""
    return templates.TemplateResponse(
        request, "console.html", {"presets": PRESETS, "tints": ",".join(TINT_COLOURS)}
    )
