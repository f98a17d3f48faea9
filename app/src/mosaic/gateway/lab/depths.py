"""The ready messages of queues by passive declares, once a second, and only while somebody looks.

The brokers renew the figures of the management API every 5 s. A passive declare asks the queue itself and
needs no permission but the access to its vhost.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import pika
import pika.exceptions

from mosaic.config import Broker
from mosaic.service import connect

logger = logging.getLogger(__name__)

PERIOD_SECONDS = 1.0
# Pages ask several times a second. After this time without a question nobody looks.
ASKED_SECONDS = 5.0
# A quorum queue whose leader does not answer is reported as empty, some seconds later.
LONGEST_SECONDS = 1.0

#: Vhost and name of a queue.
QueueKey = tuple[str, str]


@dataclass(frozen=True)
class Depth:
    """What a queue answered; `at` is a monotonic time."""

    ready: int
    consumers: int
    at: float

    def is_plausible(self, consumers: int) -> bool:
        """Return whether this may be true of a queue that had `consumers`.

        RabbitMQ answers 0 messages and 0 consumers for a quorum queue without a leader.
        """
        return bool(self.ready or self.consumers or not consumers)


class DepthWatch:
    """Asks the queues in `wanted` (names by vhost) while `ask` is called; `depths` are the answers."""

    def __init__(
        self,
        host: str,
        broker: Callable[[str], Broker],
        wanted: Callable[[], Mapping[str, Iterable[str]]],
        changed: Callable[[], None],
    ) -> None:
        """Connect to a vhost as `broker(vhost)` says; call `changed` after each reading."""
        self._host = host
        self._broker = broker
        self._wanted = wanted
        self._changed = changed
        self._asked_at = float("-inf")
        self._connections: dict[str, pika.BlockingConnection] = {}
        self.depths: dict[QueueKey, Depth] = {}

    def ask(self) -> None:
        """Keep reading for the next seconds."""
        self._asked_at = time.monotonic()

    async def run(self) -> None:
        """Watch until cancelled."""
        try:
            while True:
                started = time.monotonic()
                if started - self._asked_at <= ASKED_SECONDS:
                    names = {vhost: tuple(found) for vhost, found in self._wanted().items()}
                    reads = [asyncio.to_thread(self._read, vhost, found) for vhost, found in names.items()]
                    answers = await asyncio.gather(*reads)
                    self.depths = {key: depth for one in answers for key, depth in one.items()}
                    self._changed()
                elif self._connections:
                    await asyncio.to_thread(self.close)
                    self.depths = {}
                await asyncio.sleep(max(0.1, PERIOD_SECONDS - (time.monotonic() - started)))
        finally:
            self.close()

    def close(self) -> None:
        """Close the connections."""
        for vhost in tuple(self._connections):
            self._drop(vhost)

    def _drop(self, vhost: str) -> None:
        connection = self._connections.pop(vhost, None)
        try:
            if connection is not None and connection.is_open:
                connection.close()
        except (pika.exceptions.AMQPError, OSError) as error:
            logger.debug("a connection was lost while it was closed: %r", error)

    def _read(self, vhost: str, names: Iterable[str]) -> dict[QueueKey, Depth]:
        """Ask each queue; those that do not answer keep their last answer, which becomes old."""
        found = {key: depth for key, depth in self.depths.items() if key[0] == vhost and key[1] in names}
        try:
            connection = self._connections.get(vhost)
            if connection is None:
                broker = self._broker(vhost)
                connection = connect(broker.url, broker.heartbeat, f"console-depths@{self._host}")
                self._connections[vhost] = connection
            found.update({(vhost, name): depth for name, depth in ask_queues(connection, names).items()})
        except (pika.exceptions.AMQPError, OSError) as error:
            logger.debug("no queue of vhost %s can be asked: %r", vhost, error)
            self._drop(vhost)
        return found


def ask_queues(connection: pika.BlockingConnection, names: Iterable[str]) -> dict[str, Depth]:
    """Return the depths of the queues that answer in time. Raises AMQPError."""
    found = {}
    channel = connection.channel()
    for name in names:
        started = time.monotonic()
        try:
            answer = channel.queue_declare(name, passive=True).method
        except pika.exceptions.ChannelClosedByBroker:
            # It was deleted, or its broker is down.
            channel = connection.channel()
            continue
        if time.monotonic() - started <= LONGEST_SECONDS:
            found[name] = Depth(answer.message_count, answer.consumer_count, started)
    channel.close()
    return found
