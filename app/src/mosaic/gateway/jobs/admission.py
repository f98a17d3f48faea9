"""Limits how many expensive requests run at once: a flood of them leaves threads and memory for pages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mosaic.gateway.errors import ApiError


class Admission:
    """Some requests run, some wait for a moment, the rest are refused."""

    def __init__(self, at_once: int, max_waiting: int, seconds: float, reason: str) -> None:
        """Admit `at_once`; `max_waiting` may wait, `seconds` each; `reason` says why others are refused."""
        self._places = asyncio.Semaphore(at_once)
        self._max_waiting = max_waiting
        self._seconds = seconds
        self._reason = reason
        self._waiting = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place. Raises ApiError 429 when there are too many, or none came free in time."""
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
