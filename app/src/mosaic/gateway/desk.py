"""Where submissions queue before they are entered, so that a flood of them leaves the pages their threads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated

from fastapi import Depends, Request

from mosaic.gateway.errors import ApiError
from mosaic.gateway.schemas import Accepted
from mosaic.gateway.submit import submit
from mosaic.ledger.jobs import JobPlan

AT_ONCE = 8
MAX_WAITING = 64
WAIT_SECONDS = 1.0


class Desk:
    """Some at a time are served, some wait for a moment, the rest are sent away."""

    def __init__(self) -> None:
        """Serve nobody yet."""
        self._places = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place. Raises ApiError 429 when there are too many, or none came free in time."""
        busy = ApiError(
            429, "too many jobs are being submitted at once; try again in a second.", {"Retry-After": "1"}
        )
        if self._waiting >= MAX_WAITING:
            raise busy
        self._waiting += 1
        try:
            async with asyncio.timeout(WAIT_SECONDS):
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
    async with state.desk.place():
        yield partial(submit, state.publisher, max_running=state.max_running_jobs)


Submit = Callable[[JobPlan], Accepted]
TheSubmit = Annotated[Submit, Depends(take_place)]
