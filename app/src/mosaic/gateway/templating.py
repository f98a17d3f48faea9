"""Templates of pages, and which requests get a page instead of JSON."""

from __future__ import annotations

from pathlib import Path

from fastapi import Request
from fastapi.templating import Jinja2Templates

from mosaic import __version__
from mosaic.kinds import kind

templates = Jinja2Templates([Path(__file__).parent / "templates", kind.FOLDER])
templates.env.globals["version"] = __version__


def wants_page(request: Request) -> bool:
    """Return whether a browser requests a page."""
    is_page = request.method == "GET" and not request.url.path.startswith("/api/")
    return is_page and "text/html" in request.headers.get("accept", "")
