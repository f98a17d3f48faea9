"""Event streams (text/event-stream): events with ids, keep-alive events, and a clean end.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json
from starlette.responses import StreamingResponse

from mosaic.gateway.errors import Unavailable

KEEPALIVE_SECONDS = 5.0
AGE_SECONDS = 1.0
# An event, not a comment: a page that receives no event at all knows that its stream is dead.
ALIVE = b"event: alive\ndata: {}\n\n"
# After this time the browser reconnects, and its login is checked again.
LONGEST_SECONDS = 1800.0
MAX_STREAMS = 200
HEADERS = {
    "Cache-Control": "no-store",
    # nginx would buffer small events.
    "X-Accel-Buffering": "no",
}


#: The time since figures were true, at most, in seconds, by the name of the figures.
Ages = dict[str, float]


@dataclass(frozen=True)
class Event:
    """One event: its data (anything that pydantic writes as JSON), its kind, and an id to resume from."""

    data: Any
    kind: str = "message"
    id: str | None = None

    def encode(self) -> bytes:
        """Return the event as it is sent."""
        first = b"" if self.id is None else f"id: {self.id}\n".encode()
        return b"%bevent: %b\ndata: %b\n\n" % (first, self.kind.encode(), to_json(self.data))


def age_event(ages: Ages) -> Event:
    """Return the event with the ages of figures, and with the gateway's clock in seconds since 1970."""
    return Event({"at": time.time(), "ages": {name: round(age, 1) for name, age in ages.items()}}, "age")


async def changes(
    read: Callable[[], Awaitable[Any]], kind: str, period: float, ages: Callable[[], Ages]
) -> AsyncGenerator[Event, None]:
    """Yield what `read` returns, now and after each change, unless it is None; each second their `ages`.

    A slow client gets the latest value only, so nothing queues up for it.
    """
    sent, aged_at = None, float("-inf")
    while True:
        latest = await read()
        if latest is not None and latest is not sent and latest != sent:
            yield Event(latest, kind)
            sent = latest
        if time.monotonic() - aged_at >= AGE_SECONDS:
            aged_at = time.monotonic()
            yield age_event(ages())
        await asyncio.sleep(period)


class Streams:
    """The open streams of this process. It limits their number and ends them when the gateway stops."""

    def __init__(self) -> None:
        """Start without streams."""
        self._open = 0
        self._closing = asyncio.Event()

    def close(self) -> None:
        """End every stream soon."""
        self._closing.set()

    def answer(self, events: AsyncGenerator[Event, None]) -> StreamingResponse:
        """Return the response that sends `events`. Raises ApiError 503 if too many streams are open."""
        if self._open >= MAX_STREAMS:
            raise Unavailable(f"{MAX_STREAMS} pages are open already; close one.", 10)
        return StreamingResponse(self._bytes(events), media_type="text/event-stream", headers=HEADERS)

    async def _bytes(self, events: AsyncGenerator[Event, None]) -> AsyncIterator[bytes]:
        self._open += 1
        closing = asyncio.create_task(self._closing.wait())
        coming: asyncio.Future[Event] | None = None
        loop = asyncio.get_running_loop()
        end = loop.time() + LONGEST_SECONDS
        try:
            yield b"retry: 1000\n\n" + ALIVE
            while loop.time() < end:
                coming = coming or asyncio.ensure_future(anext(events))
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
            # A running generator ends by the cancellation, a waiting one by aclose().
            if coming is not None and not coming.done():
                coming.cancel()
            else:
                await events.aclose()
