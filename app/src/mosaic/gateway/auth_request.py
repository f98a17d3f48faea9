"""What the web server asks before it opens what else is behind the login: is somebody logged in?"""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

router = APIRouter(include_in_schema=False)


@router.get("/auth")
async def logged_in() -> Response:
    """Answer 204: a request that gets here has passed RequireLogin, and any other got 401 there."""
    return Response(status_code=204)
