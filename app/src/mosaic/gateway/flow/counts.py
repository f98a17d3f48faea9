"""How many messages wait in a queue now: a passive declaration asks the leader of the queue.

The management API has counts of quorum queues that are up to 5 s old.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from urllib.parse import quote, urlsplit

import pika
import pika.exceptions

from mosaic.config import Config
from mosaic.gateway.lab.depths import ask_queues
from mosaic.service import connect


def address(config: Config, vhost: str) -> str:
    """Return the URL of a vhost for the monitoring user, who may read no message there."""
    broker = urlsplit(config.broker.url)
    login = f"{quote(config.lab.monitor_user, safe='')}:{quote(config.lab.monitor_password, safe='')}"
    return f"amqp://{login}@{broker.hostname}:{broker.port or 5672}/{quote(vhost, safe='')}"


class Counts:
    """Counts of the queues of a vhost, on a connection of its own. Use it from one thread at a time."""

    def __init__(self, url: str, heartbeat: int, host: str) -> None:
        """Connect at the first reading."""
        self._url = url
        self._heartbeat = heartbeat
        self._name = f"console-flow@{host}"
        self._connection: pika.BlockingConnection | None = None

    def read(self, names: Iterable[str]) -> dict[str, int]:
        """Return the ready messages of each queue that answers. Raises AMQPError and OSError."""
        try:
            if self._connection is None:
                self._connection = connect(self._url, self._heartbeat, self._name)
            depths = ask_queues(self._connection, names)
        except (pika.exceptions.AMQPError, OSError):
            self.close()
            raise
        return {name: depth.ready for name, depth in depths.items()}

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(pika.exceptions.AMQPError, OSError):
                connection.close()
