"""Limits of requests: the size of a body, and admission control for expensive requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mosaic.gateway.errors import ApiError, error_response


class BodyTooLargeError(Exception):
    """The client sent more than the limit."""


class BodyLimit:
    """ASGI middleware: answers 413 as soon as a body is known to exceed the limit of its path."""

    def __init__(self, app: ASGIApp, max_bytes: int, by_path: Mapping[str, int]) -> None:
        """Limit bodies to `max_bytes`, except for the paths in `by_path`."""
        self.app = app
        self.max_bytes = max_bytes
        self.by_path = by_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 413."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        left = max_bytes = self.by_path.get(scope["path"], self.max_bytes)
        answered = False

        async def counting_receive() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise BodyTooLargeError
            return message

        async def guarded_send(message: Message) -> None:
            nonlocal answered
            # The application may have its own answer to BodyTooLargeError; the 413 replaces it.
            if answered or left >= 0:
                answered = True
                await send(message)

        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdigit() and int(announced) > max_bytes:
            left = -1
        else:
            try:
                await self.app(scope, counting_receive, guarded_send)
            except Exception:
                if left >= 0:
                    raise
        if left < 0 and not answered:
            size = f"{max_bytes // 2**10} KiB" if max_bytes < 2**20 else f"{max_bytes / 2**20:g} MiB"
            refusal = error_response(413, f"the body is larger than {size}.", {"Connection": "close"})
            await refusal(scope, receive, send)


class Admission:
    """Admission control: some requests run, some wait, others are refused, so pages still load."""

    def __init__(self, at_once: int, max_waiting: int, seconds: float, reason: str) -> None:
        """Admit `at_once` requests; `max_waiting` wait for `seconds`. `reason`: why others are refused."""
        self._places = asyncio.Semaphore(at_once)
        self._max_waiting = max_waiting
        self._seconds = seconds
        self._reason = reason
        self._waiting = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place. Raises ApiError 429 if too many requests wait, or no place is free in time."""
        busy = ApiError(429, f"{self._reason}; try again in a second.", {"Retry-After": "1"})
        if self._waiting >= self._max_waiting:
            raise busy
        self._waiting += 1
        try:
            async with asyncio.timeout(self._seconds):
                await self._places.acquire()
        except TimeoutError:
            raise busy from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._places.release()
