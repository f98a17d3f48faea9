"""The text/event-stream answer: events with ids, a keepalive while nothing happens, an orderly end.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Any

from starlette.responses import StreamingResponse

from mosaic.gateway.errors import ApiError

KEEPALIVE_SECONDS = 5.0
# An event and not a comment: a page that hears nothing at all knows that its stream is dead.
ALIVE = b"event: alive\ndata: {}\n\n"
# A browser connects again by itself; its login is looked at then.
LONGEST_SECONDS = 1800.0
MAX_STREAMS = 200
HEADERS = {
    "Cache-Control": "no-store",
    # nginx would collect what is small into larger pieces.
    "X-Accel-Buffering": "no",
}


@dataclass(frozen=True)
class Event:
    """One event: JSON data, its kind, and an id from which a cut stream is taken up again."""

    data: Any
    kind: str = "message"
    id: str | None = None

    def encode(self) -> bytes:
        """Return the event as it goes over the wire."""
        lines = [] if self.id is None else [f"id: {self.id}"]
        lines += [f"event: {self.kind}", f"data: {json.dumps(self.data, separators=(',', ':'))}"]
        return ("\n".join(lines) + "\n\n").encode()


class Streams:
    """The open streams of this process: counted, and ended together when the gateway ends."""

    def __init__(self) -> None:
        """Hold none."""
        self._open = 0
        self._closing = asyncio.Event()

    def close(self) -> None:
        """End every stream soon."""
        self._closing.set()

    def answer(self, events: AsyncGenerator[Event, None]) -> StreamingResponse:
        """Return the answer that carries `events`. Raises ApiError 503 when too many are open."""
        if self._open >= MAX_STREAMS:
            raise ApiError(503, f"{MAX_STREAMS} pages are open already; close one.", {"Retry-After": "10"})
        return StreamingResponse(self._bytes(events), media_type="text/event-stream", headers=HEADERS)

    async def _bytes(self, events: AsyncGenerator[Event, None]) -> AsyncIterator[bytes]:
        self._open += 1
        closing = asyncio.create_task(_wait(self._closing))
        coming: asyncio.Task[Event] | None = None
        loop = asyncio.get_running_loop()
        end = loop.time() + LONGEST_SECONDS
        try:
            yield b"retry: 1000\n\n" + ALIVE
            while loop.time() < end:
                coming = coming or asyncio.create_task(_next(events))
                await asyncio.wait(
                    (coming, closing), timeout=KEEPALIVE_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                if closing.done():
                    return
                if coming.done():
                    try:
                        event = coming.result()
                    except StopAsyncIteration:
                        return
                    coming = None
                    yield event.encode()
                else:
                    yield ALIVE
        finally:
            self._open -= 1
            closing.cancel()
            # A generator that is at work ends by the cancellation, one that waits for its reader by aclose().
            if coming is not None and not coming.done():
                coming.cancel()
            else:
                await events.aclose()


async def _next(events: AsyncGenerator[Event, None]) -> Event:
    return await anext(events)


async def _wait(event: asyncio.Event) -> None:
    await event.wait()
