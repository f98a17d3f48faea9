"""Dead letters of a drill: taken out of mosaic.dead, where all others stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kombu import Connection

from mosaic import topology


@dataclass(frozen=True)
class DeadLetter:
    """A message that no consumer could finish: unit, reason (RabbitMQ's word), queue it came from, times."""

    unit: int
    reason: str
    queue: str
    count: int


def take(connection: Connection, run: str) -> list[DeadLetter]:
    """Acknowledge the dead letters of the run and return them; the others go back to their queue."""
    channel: Any = connection.channel()
    found = []
    foreign = []
    while (message := channel.basic_get(topology.DEAD)) is not None:
        headers = message.headers or {}
        task_id = str(headers.get("id", ""))
        name, _, unit = task_id.rpartition("-")
        if name != run:
            foreign.append(message.delivery_tag)
            continue
        deaths = headers.get("x-death") or [{}]
        death = deaths[0]
        found.append(
            DeadLetter(
                int(unit),
                str(death.get("reason", "")),
                str(death.get("queue", "")),
                int(death.get("count", 0)),
            )
        )
        channel.basic_ack(message.delivery_tag)
    for tag in foreign:
        channel.basic_reject(tag, requeue=True)
    channel.close()
    return found
