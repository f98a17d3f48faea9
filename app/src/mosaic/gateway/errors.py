"""Errors of the gateway: always {"error": "<one sentence>"} for programs, a page for people at a form."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException

logger = logging.getLogger(__name__)


class ApiError(Exception):
    """Ends a request with a status and one sentence."""

    def __init__(self, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
        """Answer `status` with `sentence`."""
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.headers = headers


def error_response(status: int, sentence: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Return the one shape of an error."""
    return JSONResponse({"error": sentence}, status, headers)


def validation_sentence(error: dict[str, Any]) -> str:
    """Return one sentence for one of pydantic's errors."""
    kind, message = str(error.get("type", "")), str(error.get("msg", "is not valid"))
    place = [str(step) for step in error.get("loc", ()) if step not in ("body", "query", "path")]
    if kind == "json_invalid":
        reason = error.get("ctx", {}).get("error", "malformed")
        return f"the body is not valid JSON: {reason}."
    if kind in ("model_attributes_type", "dict_type") and not place:
        return "the body must be a JSON object, sent as application/json."
    if kind == "missing" and not place:
        return "the body is missing: send a JSON object as application/json."
    if kind == "extra_forbidden":
        return f"{place[-1]} is not a known field."
    if kind == "missing":
        return f"{place[-1]} is missing."
    if kind == "value_error":
        message = message.removeprefix("Value error, ")
        return message if not place else f"{'.'.join(place)}: {message}"
    text = message[:1].lower() + message[1:].rstrip(".")
    return f"{'.'.join(place) or 'the request'}: {text}."


def install(app: FastAPI) -> None:
    """Make `app` answer every error in the one shape."""

    @app.exception_handler(ApiError)
    async def api_error(_request: Request, error: ApiError) -> JSONResponse:
        return error_response(error.status, error.sentence, error.headers)

    @app.exception_handler(RequestValidationError)
    async def validation_error(_request: Request, error: RequestValidationError) -> JSONResponse:
        return error_response(422, validation_sentence(error.errors()[0]))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        sentence = str(error.detail)
        if error.status_code == 404 and sentence == "Not Found":
            sentence = f"there is nothing at {request.url.path}."
        if error.status_code == 405:
            sentence = f"{request.method} is not possible at {request.url.path}."
        headers = dict(error.headers) if error.headers else None
        return error_response(error.status_code, sentence, headers)

    @app.exception_handler(OperationalError)
    @app.exception_handler(InterfaceError)
    @app.exception_handler(PoolTimeoutError)
    async def database_error(_request: Request, error: Exception) -> JSONResponse:
        logger.error("the database does not answer: %s", error)
        return error_response(
            503, "the database does not answer; try again in a moment.", {"Retry-After": "5"}
        )

    @app.exception_handler(Exception)
    async def unexpected(_request: Request, error: Exception) -> JSONResponse:
        logger.error("unexpected error", exc_info=error)
        return error_response(500, "the gateway failed on this request; its log on this host says why.")
