"""Admission control: it limits expensive requests, so that threads and memory are left for pages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mosaic.gateway.errors import ApiError


class Admission:
    """Some requests run, some wait, and others are refused."""

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
