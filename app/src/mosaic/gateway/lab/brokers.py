"""Which brokers are healthy, by the check beside each, and what the cluster says about itself.

The check (role broker_check) answers on behalf of its broker alone. The management API does not do for this:
a broker asked for its nodes waits for the one that is frozen, and would seem dead with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from mosaic.config import Lab
from mosaic.gateway.lab.management import Document, Management, ManagementError

CHECK_SECONDS = 0.5
ANSWER_SECONDS = 0.9
# One answer may come late on a busy machine; a broker that is down misses two.
MISSES = 2
DETAILS_SECONDS = 2.0


@dataclass
class BrokerCheck:
    """The latest verdict on a broker: `up` is None before the first; `since` when it last changed."""

    name: str
    up: bool | None = None
    reason: str = ""
    since: datetime.datetime = field(default_factory=lambda: datetime.datetime.now(datetime.UTC))
    misses: int = 0

    def record(self, up: bool, reason: str = "") -> bool:
        """Record a verdict; return whether anything is new."""
        self.misses = 0
        if (up, reason) == (self.up, self.reason):
            return False
        if up != self.up:
            self.since = datetime.datetime.now(datetime.UTC)
        self.up, self.reason = up, reason
        return True


class BrokerWatch:
    """Asks the check of every broker twice a second, and the cluster every two seconds."""

    def __init__(self, lab: Lab, context: ssl.SSLContext, changed: Callable[[], None]) -> None:
        """Call `changed` whenever a verdict, or what the cluster says, is new."""
        self._lab = lab
        self._context = context
        self._changed = changed
        self._management = Management(lab, context)
        self.checks = {name: BrokerCheck(name) for name in lab.brokers}
        self.nodes: list[Document] = []
        self.queues: list[Document] = []
        self.cluster_error = ""

    def is_up(self, name: str) -> bool:
        """Return whether a broker is healthy."""
        return self.checks[name].up is True

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for check in self.checks.values():
                tasks.create_task(self._check_for_ever(check))
            tasks.create_task(self._read_cluster_for_ever())

    async def close(self) -> None:
        """Close the connections."""
        await self._management.close()

    async def _check_for_ever(self, check: BrokerCheck) -> None:
        while True:
            started = time.monotonic()
            if self._take(check, await self._verdict(check.name)):
                self._changed()
            # After a miss at once: what matters is how soon a second one is known.
            pause = 0.1 if check.misses else CHECK_SECONDS - (time.monotonic() - started)
            await asyncio.sleep(max(0.1, pause))

    def _take(self, check: BrokerCheck, verdict: str | None) -> bool:
        if verdict is None:
            check.misses += 1
            misses = check.misses
            if misses < MISSES:
                return False
            changed = check.record(False, "its host does not answer")
            check.misses = misses
            return changed
        return check.record(verdict == "up", verdict.removeprefix("down:").strip() if verdict != "up" else "")

    async def _verdict(self, host: str) -> str | None:
        """Return the check's line, or None when there is no answer in time."""
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reader, writer = await asyncio.open_connection(
                    host, self._lab.check_port, ssl=self._context, server_hostname=host
                )
                return (await reader.readline()).decode("utf-8", "replace").strip() or None
        except (OSError, ValueError):
            return None
        finally:
            if writer is not None:
                with contextlib.suppress(OSError):
                    writer.transport.abort()

    async def _read_cluster_for_ever(self) -> None:
        while True:
            with contextlib.suppress(ManagementError):
                await self.read_cluster()
            await asyncio.sleep(DETAILS_SECONDS)

    async def read_cluster(self) -> None:
        """Ask the cluster now. Raises ManagementError."""
        try:
            self.nodes = await self._management.nodes(self.is_up)
            self.queues = await self._management.queues(self.is_up)
        except ManagementError as error:
            if self.cluster_error != str(error):
                self.cluster_error = str(error)
                self._changed()
            raise
        self.cluster_error = ""
        self._changed()
