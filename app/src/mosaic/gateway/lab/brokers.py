"""The state of the brokers: the health check of each broker, and the cluster's own figures.

The check (role broker_check) speaks for its own broker only. The management API cannot replace it: a broker
that is asked for its nodes waits for a frozen node, and would seem to be down too.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from mosaic.config import Lab

CHECK_SECONDS = 0.5
ANSWER_SECONDS = 0.9
# One answer may be late on a busy machine. A broker that is down misses two.
MISSES = 2
CLUSTER_SECONDS = 2.0
# RabbitMQ renews its statistics at this interval (collect_statistics_interval).
STATISTICS_SECONDS = 5.0
# Longer than net_ticktime: a broker that waits for a frozen node answers late.
TIMEOUT_SECONDS = 4.0
QUEUE_COLUMNS = (
    "name,vhost,type,node,leader,members,consumers,messages,messages_ready,messages_unacknowledged,"
    "message_stats.publish_details.rate,message_stats.deliver_get_details.rate"
)
NODE_COLUMNS = "name,running,partitions,mem_alarm,disk_free_alarm,mem_used"

Document = dict[str, Any]


def trust(lab: Lab) -> ssl.SSLContext:
    """Return a context that trusts the lab's authority only. Raises OSError if its file is missing."""
    return ssl.create_default_context(cafile=lab.ca_file)


@dataclass
class BrokerCheck:
    """The latest result for a broker; `up` is None before the first. `since`: when `up` changed.

    `at`: the monotonic time of this result.
    """

    name: str
    up: bool | None = None
    reason: str = ""
    since: datetime.datetime = field(default_factory=lambda: datetime.datetime.now(datetime.UTC))
    misses: int = 0
    at: float = field(default_factory=time.monotonic)

    def record(self, up: bool, reason: str = "") -> None:
        """Store a result."""
        if up != self.up:
            self.since = datetime.datetime.now(datetime.UTC)
        self.up, self.reason = up, reason
        self.at = time.monotonic()

    def take(self, answer: str | None) -> bool:
        """Store the check's answer, None if it did not answer in time; return whether the result changed."""
        before = (self.up, self.reason)
        self.misses = self.misses + 1 if answer is None else 0
        if answer is not None:
            self.record(answer == "up", answer.removeprefix("down:").strip() if answer != "up" else "")
        elif self.misses >= MISSES:
            self.record(False, "its host does not answer")
        return (self.up, self.reason) != before


class Line:
    """A connection to the check of a broker. It stays open, because opening it costs most of a question."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext) -> None:
        """Connect to nothing yet."""
        self._host, self._port, self._context = host, port, context
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self) -> str | None:
        """Return the check's line, or None if it does not answer in time."""
        answer = ""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                if self._streams is not None:
                    answer = await self._again(*self._streams)
                if not answer:
                    # The check closes connections of clients that were silent, and after each `down`.
                    self._drop()
                    self._streams = await asyncio.open_connection(
                        self._host, self._port, ssl=self._context, server_hostname=self._host
                    )
                    answer = _text(await self._streams[0].readline())
        except (OSError, ValueError):
            pass
        finally:
            if not answer:
                self._drop()
        return answer or None

    async def _again(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        with contextlib.suppress(ConnectionError):
            writer.write(b"\n")
            return _text(await reader.readline())
        return ""

    def _drop(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").strip()


class BrokerWatch:
    """Reads the check of every broker twice a second, and the management API every two seconds.

    The management user may read everything and change nothing.
    """

    def __init__(self, lab: Lab, context: ssl.SSLContext, changed: Callable[[], None]) -> None:
        """Call `changed` after each reading."""
        self._lab = lab
        self._context = context
        self._changed = changed
        self._client = httpx.AsyncClient(
            auth=(lab.monitor_user, lab.monitor_password),
            verify=context,
            timeout=TIMEOUT_SECONDS,
            trust_env=False,  # no HTTP proxy leads into the lab
        )
        self.checks = {name: BrokerCheck(name) for name in lab.brokers}
        self.nodes: list[Document] = []
        self.queues: list[Document] = []
        self.cluster_error = ""
        self.cluster_at: float | None = None

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for check in self.checks.values():
                tasks.create_task(self._check_for_ever(check))
            tasks.create_task(self._read_cluster_for_ever())

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _check_for_ever(self, check: BrokerCheck) -> None:
        line = Line(check.name, self._lab.check_port, self._context)
        while True:
            started = time.monotonic()
            if check.take(await line.ask()):
                self._changed()
            # Repeat at once after a miss: the time until the second one matters.
            pause = 0.1 if check.misses else CHECK_SECONDS - (time.monotonic() - started)
            await asyncio.sleep(max(0.1, pause))

    async def _read_cluster_for_ever(self) -> None:
        while True:
            try:
                asked_at = time.monotonic()
                self.nodes = await self.ask(f"/api/nodes?columns={NODE_COLUMNS}")
                self.queues = await self.ask(f"/api/queues?columns={QUEUE_COLUMNS}")
                self.cluster_error = ""
                self.cluster_at = asked_at
            except ConnectionError as error:
                self.cluster_error = str(error)
            self._changed()
            await asyncio.sleep(CLUSTER_SECONDS)

    async def ask(self, path: str) -> Any:
        """Return the answer of the first healthy broker that answers. Raises ConnectionError."""
        reason = "no broker is up"
        for check in self.checks.values():
            if check.up:
                try:
                    url = f"https://{check.name}:{self._lab.management_port}{path}"
                    answer = await self._client.get(url)
                    answer.raise_for_status()
                    return answer.json()
                except (httpx.HTTPError, ValueError) as error:
                    reason = f"{check.name}: {error or type(error).__name__}"
        raise ConnectionError(f"the management API does not answer ({reason}).")
