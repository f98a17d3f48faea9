"""Limits how many expensive requests run at once: a flood of them leaves threads and memory for pages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated

from fastapi import Depends, Request

from mosaic.gateway.errors import ApiError
from mosaic.gateway.jobs.schemas import Accepted
from mosaic.gateway.jobs.submit import submit
from mosaic.ledger.jobs import JobPlan


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


async def take_place(request: Request) -> AsyncIterator[Submit]:
    """Return the way to submit, to be used while a place is held. Raises ApiError 429 or 503."""
    state = request.app.state
    if state.watch.brokers_are_down:
        raise ApiError(
            503, "no broker is up; the job was not entered, try again in a moment.", {"Retry-After": "5"}
        )
    async with state.submissions.place():
        yield partial(submit, state.publish, max_running=state.max_running_jobs)


async def take_assembly_place(request: Request) -> AsyncIterator[None]:
    """Hold a place among those for whom a picture is put together. Raises ApiError 429."""
    async with request.app.state.assemblies.place():
        yield


Submit = Callable[[JobPlan], Accepted]
TheSubmit = Annotated[Submit, Depends(take_place)]
