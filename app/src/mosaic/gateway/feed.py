"""A value that changes, and any number of readers who want each change or the latest one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Generic, TypeVar

from pydantic import BaseModel

from mosaic.gateway.sse import Event

Value = TypeVar("Value", bound=BaseModel)


class Feed(Generic[Value]):
    """Holds the latest value. A slow reader skips what came between: it gets the latest, never a backlog."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._value: Value | None = None
        self._version = 0
        self._changed = asyncio.Event()
        self._readers = 0

    @property
    def latest(self) -> Value | None:
        """The latest value; None before the first."""
        return self._value

    @property
    def watched(self) -> bool:
        """Whether anybody reads."""
        return self._readers > 0

    def set(self, value: Value) -> None:
        """Take a new value; one that equals the latest wakes nobody."""
        if value == self._value:
            return
        self._value = value
        self._version += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def values(self) -> AsyncIterator[Value]:
        """Yield the latest value at once, then each one that is new when the reader is ready for it."""
        seen = 0
        self._readers += 1
        try:
            while True:
                changed = self._changed
                if self._version != seen and self._value is not None:
                    seen = self._version
                    yield self._value
                else:
                    await changed.wait()
        finally:
            self._readers -= 1

    async def events(self, kind: str) -> AsyncGenerator[Event, None]:
        """Yield events of this kind: the latest value, then each change."""
        async for value in self.values():
            yield Event(value.model_dump(mode="json"), kind)
