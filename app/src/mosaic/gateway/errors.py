"""Errors of the gateway: {"error": "<one sentence>"} for programs, a page for browsers."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response

from mosaic.gateway.templating import templates, wants_page
from mosaic.kinds.kind import RequestError
from mosaic.ledger.database import DATABASE_AWAY

logger = logging.getLogger(__name__)

NO_DATABASE = "the database does not answer; try again in a moment."
WANT_OBJECT = "the body must be a JSON object, sent as application/json."


class ApiError(Exception):
    """Ends a request with an HTTP status and one sentence."""

    def __init__(self, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
        """Answer `status` with `sentence`."""
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.headers = headers


class Unavailable(ApiError):  # noqa: N818  the lab is unavailable, not wrong
    """Ends a request with status 503."""

    def __init__(self, sentence: str, retry_seconds: int = 5) -> None:
        """Answer `sentence`; the client may retry after `retry_seconds`."""
        super().__init__(503, sentence, {"Retry-After": str(retry_seconds)})


def error_response(status: int, sentence: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Return an error as JSON."""
    return JSONResponse({"error": sentence}, status, headers)


def answer(request: Request, status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    """Return the error as a page for a browser, as JSON for other clients."""
    if not wants_page(request):
        return error_response(status, sentence, headers)
    title = {404: "Page not found", 503: "Not available"}.get(status, "Error")
    context = {"title": title, "sentence": sentence, "waits": status == 503}
    return templates.TemplateResponse(request, "error.html", context, status, headers)


def sentence_of(text: str) -> str:
    """Return `text` as an error's sentence: a small first letter, a full stop at the end."""
    return text[:1].lower() + text[1:].rstrip(".") + "."


def validation_sentence(error: dict[str, Any]) -> str:
    """Return one sentence for one of pydantic's errors."""
    kind, message = str(error.get("type", "")), str(error.get("msg", "is not valid"))
    place = ".".join(str(step) for step in error.get("loc", ()) if step not in ("body", "query", "path"))
    message = message.removeprefix("Value error, ")
    if kind == "json_invalid":
        return sentence_of(f"the body is not valid JSON: {error.get('ctx', {}).get('error', 'malformed')}")
    if kind == "extra_forbidden":
        return f"{place} is not a known field."
    if "UploadFile" in message:
        return f"{place} must be an uploaded file."
    if kind == "missing":
        return f"{place or 'the body'} is missing."
    if not place:
        is_object_expected = kind in ("model_attributes_type", "dict_type")
        return WANT_OBJECT if is_object_expected else sentence_of(message)
    return sentence_of(f"{place}: {message[:1].lower()}{message[1:]}")


def http_sentence(request: Request, error: HTTPException) -> str:
    """Return one sentence for an error of the framework."""
    sentence = sentence_of(str(error.detail))
    if error.status_code == 404 and error.detail == "Not Found":
        return f"there is nothing at {request.url.path}."
    if error.status_code == 405:
        return f"{request.method} is not possible at {request.url.path}."
    if error.status_code == 400 and "parsing the body" in sentence:
        return "the body cannot be read: it is malformed."
    return sentence


def install(app: FastAPI) -> None:
    """Let `app` answer every error with one sentence."""

    @app.exception_handler(ApiError)
    async def api_error(request: Request, error: ApiError) -> Response:
        return answer(request, error.status, error.sentence, error.headers)

    @app.exception_handler(RequestError)
    async def request_error(_request: Request, error: RequestError) -> JSONResponse:
        return error_response(error.status, str(error))

    @app.exception_handler(RequestValidationError)
    async def validation_error(_request: Request, error: RequestValidationError) -> JSONResponse:
        return error_response(422, validation_sentence(error.errors()[0]))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers) if error.headers else None
        return answer(request, error.status_code, http_sentence(request, error), headers)

    async def database_error(request: Request, error: Exception) -> Response:
        logger.error("the database does not answer: %s", error)
        return answer(request, 503, NO_DATABASE, {"Retry-After": "5"})

    for kind in DATABASE_AWAY:
        app.add_exception_handler(kind, database_error)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        logger.error("unexpected error", exc_info=error)
        return answer(
            request, 500, "the gateway failed on this request; the reason is in its log on this host."
        )
