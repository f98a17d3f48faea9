"""Reads a vhost while a page with its drawing is open, and only then."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import pika.exceptions

from mosaic.config import Config
from mosaic.gateway.flow.counts import Counts, address
from mosaic.gateway.flow.drawing import Answers, Document, draw, fold_of
from mosaic.gateway.flow.schemas import Broker, FlowState
from mosaic.gateway.lab.brokers import BrokerWatch
from mosaic.gateway.sse import Event

logger = logging.getLogger(__name__)

TOPOLOGY_SECONDS = 1.0
# The brokers count every 5 s.
RATES_SECONDS = 2.0
SEND_SECONDS = 0.2
SHORTEST_PAUSE = 0.2
PLAIN = "disable_stats=true&columns=name,type"
QUEUES = "disable_stats=true&enable_queue_totals=true"
BINDING_COLUMNS = "source,destination,destination_type,routing_key,arguments"
CONSUMER_COLUMNS = "queue.name,channel_details,prefetch_count,ack_required"
CONNECTION_COLUMNS = "name,client_properties,peer_host"
HOSTS = Path("/etc/hosts")


class ReadsCounts(Protocol):
    """What reads exact counts: mosaic.gateway.flow.counts.Counts."""

    def read(self, names: Any) -> dict[str, int]:
        """Return the ready messages of queues."""

    def close(self) -> None:
        """Close the connection."""


def host_names(file: Path = HOSTS) -> dict[str, str]:
    """Return the hosts by address; role base writes them to /etc/hosts."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    words = (line.partition("#")[0].split() for line in lines)
    return {found[0]: found[1] for found in words if len(found) > 1}


class FlowWatch:
    """The readers of the vhosts whose drawing is open."""

    def __init__(
        self,
        config: Config,
        brokers: BrokerWatch | None,
        counts: Callable[[str], ReadsCounts] | None = None,
    ) -> None:
        """Read through the brokers that `brokers` finds healthy."""
        self._config = config
        self._brokers = brokers
        self._counts = counts or (
            lambda vhost: Counts(address(config, vhost), config.broker.heartbeat, config.host)
        )
        self._readers: dict[str, Reader] = {}

    async def follow(self, vhost: str) -> AsyncGenerator[Event, None]:
        """Yield an event `flow` now and after each change. The first follower starts the reader."""
        reader = self._readers.get(vhost)
        if reader is None:
            reader = self._readers[vhost] = Reader(self._config, self._brokers, vhost, self._counts(vhost))
            reader.start()
        reader.followers += 1
        try:
            sent = None
            while True:
                latest = reader.latest()
                if latest is not None and latest is not sent:
                    yield Event(latest, "flow")
                    sent = latest
                await asyncio.sleep(SEND_SECONDS)
        finally:
            reader.followers -= 1
            if reader.followers == 0:
                del self._readers[vhost]
                await reader.stop()


class Reader:
    """Reads one vhost: its topology each second, its rates every two seconds."""

    def __init__(self, config: Config, brokers: BrokerWatch | None, vhost: str, counts: ReadsCounts) -> None:
        """Prepare to read `vhost`."""
        self._config = config
        self._brokers = brokers
        self._vhost = vhost
        self._path = quote(vhost, safe="")
        self._counts = counts
        self._hosts = host_names()
        self._answers = Answers()
        self._vhosts: list[str] = []
        self._times: dict[str, datetime.datetime] = {}
        self._rates_due = 0.0
        self._reason = ""
        self._state: FlowState | None = None
        self._task: asyncio.Task[None] | None = None
        self.followers = 0

    def start(self) -> None:
        """Start reading; needs a running event loop."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await asyncio.to_thread(self._counts.close)

    def latest(self) -> FlowState | None:
        """Return the latest drawing. A broker that went down since the reading is shown at once."""
        if self._state is not None and self._state.brokers != self._broker_states():
            self._compose()
        return self._state

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            try:
                await self._read_topology()
                if started >= self._rates_due:
                    self._rates_due = started + RATES_SECONDS
                    await self._read_rates()
                self._reason = ""
            except ConnectionError as error:
                self._reason = str(error)
            except Exception as error:
                logger.exception("the drawing of the vhost %s is not read", self._vhost)
                self._reason = f"the answer of the brokers is not understood ({type(error).__name__})."
            self._compose()
            await asyncio.sleep(max(SHORTEST_PAUSE, TOPOLOGY_SECONDS - (loop.time() - started)))

    async def _ask(self, path: str) -> Any:
        if self._brokers is None:
            raise ConnectionError("no brokers are configured for this gateway.")
        return await self._brokers.ask(path)

    async def _read_topology(self) -> None:
        answers = self._answers
        vhosts = await self._ask("/api/vhosts?columns=name")
        self._vhosts = sorted(str(one["name"]) for one in vhosts)
        if self._vhost not in self._vhosts:
            self._answers = Answers()
            raise ConnectionError(f"the brokers have no vhost {self._vhost}.")
        (
            answers.exchanges,
            answers.bindings,
            answers.queues,
            answers.consumers,
            answers.connections,
        ) = await asyncio.gather(
            self._ask(f"/api/exchanges/{self._path}?{PLAIN}"),
            self._ask(f"/api/bindings/{self._path}?columns={BINDING_COLUMNS}"),
            self._ask(f"/api/queues/{self._path}?{QUEUES}"),
            self._ask(f"/api/consumers/{self._path}?columns={CONSUMER_COLUMNS}"),
            self._ask(f"/api/vhosts/{self._path}/connections?columns={CONNECTION_COLUMNS}"),
        )
        self._stamp("topology")
        await self._read_counts()

    async def _read_counts(self) -> None:
        # Only its own connection may ask an exclusive queue.
        shared = [queue for queue in self._answers.queues if not queue.get("exclusive")]
        names = [name for queue in shared if fold_of(name := str(queue["name"])) is None]
        try:
            self._answers.ready = await asyncio.to_thread(self._counts.read, names)
            self._stamp("counts")
        except (pika.exceptions.AMQPError, OSError) as error:
            # The monitoring user cannot enter a vhost that nobody declared in the inventory.
            logger.debug("the vhost %s is not counted: %r", self._vhost, error)
            self._answers.ready = {}

    async def _read_rates(self) -> None:
        exchanges = await self._ask(f"/api/exchanges/{self._path}?columns=name,message_stats.publish_in")
        queues = await self._ask(f"/api/queues/{self._path}?columns=name,message_stats.deliver_get")
        self._answers.exchange_stats = await self._each("exchanges", exchanges)
        self._answers.queue_stats = await self._each("queues", queues)
        self._stamp("rates")

    async def _each(self, what: str, documents: list[Document]) -> dict[str, Document]:
        """Return the answers for those with statistics, one by one: only they have each connection."""
        names = [str(one["name"]) for one in documents if one.get("message_stats")]
        paths = [f"/api/{what}/{self._path}/{quote(name, safe='') or 'amq.default'}" for name in names]
        found = await asyncio.gather(*(self._ask(path) for path in paths), return_exceptions=True)
        # One may have been deleted a moment ago.
        return {name: one for name, one in zip(names, found, strict=True) if isinstance(one, dict)}

    def _stamp(self, what: str) -> None:
        self._times[what] = datetime.datetime.now(datetime.UTC)

    def _broker_states(self) -> list[Broker]:
        checks = self._brokers.checks.values() if self._brokers else ()
        return [
            Broker(name=check.name, state="unknown" if check.up is None else "up" if check.up else "down")
            for check in checks
        ]

    def _compose(self) -> None:
        brokers = self._broker_states()
        drawing = draw(
            self._answers,
            self._vhost,
            self._config.lab.vhost,
            self._hosts,
            {broker.name for broker in brokers if broker.state == "down"},
        )
        self._state = FlowState(
            vhost=self._vhost,
            vhosts=self._vhosts,
            reason=self._reason,
            now=datetime.datetime.now(datetime.UTC),
            topology=self._times.get("topology"),
            counts=self._times.get("counts"),
            rates=self._times.get("rates"),
            brokers=brokers,
            **vars(drawing),
        )
