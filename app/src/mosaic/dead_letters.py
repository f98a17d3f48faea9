"""Dead letters: listed, sent back to their exchange, or dropped.

A message is acknowledged only after the broker has confirmed its copy. If the process dies in between, the
message stays in the queue. It may then exist twice, but it is never lost; the effects of the application's
tasks are idempotent. Listing consumes the messages without acknowledgement and so returns them. Therefore the
queue must not count deliveries (policy `mosaic-dead`).
"""

from __future__ import annotations

import copy
import datetime
import hashlib
import json
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pika import BasicProperties
from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection

from mosaic import topology
from mosaic.ledger.models import MAX_INDEX

MAX_SEARCHED = 2000
PREVIEW = 300
# Headers that the broker adds; a copy is sent without them.
DEATH_HEADERS = ("x-death", "x-delivery-count", "x-acquired-count", "x-opt-rabbitmq-delivery-time")
DEATH_PREFIXES = ("x-first-death-", "x-last-death-")


class GoneError(Exception):
    """The letter is not in the queue any more."""


@dataclass(frozen=True)
class Letter:
    """A message that no consumer could finish.

    `handle` identifies it; `id` is the id of the task or message; `reason` is RabbitMQ's reason, `count` how
    often it was dead-lettered for it in `queue`, and `at` the time. It was published to `exchange` with
    `routing_key`. `part` is (job, index) for the task of a part.
    """

    handle: str
    id: str
    name: str
    reason: str
    queue: str
    count: int
    at: datetime.datetime | None
    exchange: str
    routing_key: str
    part: tuple[uuid.UUID, int] | None
    preview: str


@dataclass(frozen=True)
class _Held:
    tag: int
    letter: Letter
    properties: BasicProperties
    body: bytes


def listed(connection: BlockingConnection, limit: int) -> tuple[list[Letter], int]:
    """Return up to `limit` letters, and how many there are. Raises pika's errors."""
    with connection.channel() as channel:
        waiting = channel.queue_declare(topology.DEAD, passive=True).method.message_count
        letters = [held.letter for held in _take(channel, limit)]
    return letters, max(waiting, len(letters))


def retry(connection: BlockingConnection, handle: str, prepare: Callable[[Letter], None]) -> Letter:
    """Call `prepare`, then send one letter back and return it. Raises GoneError, and pika's errors."""
    with connection.channel() as channel:
        held = _find(channel, handle)
        if not held.letter.exchange and not held.letter.routing_key:
            raise GoneError("it does not show where it came from")
        prepare(held.letter)
        channel.confirm_delivery()
        channel.basic_publish(
            held.letter.exchange,
            held.letter.routing_key,
            held.body,
            _without_death(held.properties),
            mandatory=True,
        )
        channel.basic_ack(held.tag)
    return held.letter


def drop(connection: BlockingConnection, handle: str, prepare: Callable[[Letter], None]) -> Letter:
    """Call `prepare`, then drop one letter and return it. Raises GoneError, and pika's errors."""
    with connection.channel() as channel:
        held = _find(channel, handle)
        prepare(held.letter)
        channel.basic_ack(held.tag)
    return held.letter


def drop_all(connection: BlockingConnection, wanted: Callable[[Letter], bool]) -> list[Letter]:
    """Drop every `wanted` letter and return them. Raises pika's errors."""
    with connection.channel() as channel:
        found = [held for held in _take(channel, sys.maxsize) if wanted(held.letter)]
        for held in found:
            channel.basic_ack(held.tag)
    return [held.letter for held in found]


def _take(channel: BlockingChannel, limit: int) -> Iterator[_Held]:
    for _ in range(limit):
        method, properties, body = channel.basic_get(topology.DEAD)
        if method is None or properties is None:
            return
        content = body or b""
        yield _Held(method.delivery_tag, letter_of(properties, content), properties, content)


def _find(channel: BlockingChannel, handle: str) -> _Held:
    for held in _take(channel, MAX_SEARCHED):
        if held.letter.handle == handle:
            return held
    raise GoneError("it is not there any more")


def letter_of(properties: BasicProperties, body: bytes) -> Letter:
    """Return the letter of a message in the queue of dead letters."""
    headers: dict[str, Any] = dict(properties.headers or {})
    deaths = headers.get("x-death")
    latest = deaths[0] if isinstance(deaths, list) and deaths else None
    death: dict[str, Any] = latest if isinstance(latest, dict) else {}
    keys = death.get("routing-keys") or [""]
    at = death.get("time")
    own_id = str(headers.get("id") or properties.message_id or "")
    return Letter(
        handle=_handle(own_id, death, body),
        id=own_id,
        name=str(headers.get("task") or properties.app_id or properties.content_type or "message"),
        reason=str(death.get("reason", "unknown")),
        queue=str(death.get("queue", "")),
        count=int(death.get("count", 0)),
        at=at if isinstance(at, datetime.datetime) else None,
        exchange=str(death.get("exchange", "")),
        routing_key=str(keys[0]),
        part=_part_of(headers, body),
        preview=body[:PREVIEW].decode("utf-8", "replace"),
    )


def _handle(own_id: str, death: dict[str, Any], body: bytes) -> str:
    """Return a text that identifies a letter. Letters with equal content are interchangeable."""
    facts = [own_id, *(str(death.get(key)) for key in ("queue", "reason", "time"))]
    return hashlib.sha256("\0".join(facts).encode() + body).hexdigest()[:24]


def _part_of(headers: dict[str, Any], body: bytes) -> tuple[uuid.UUID, int] | None:
    if not str(headers.get("task", "")).startswith("mosaic."):
        return None
    try:
        job, index = json.loads(body)[0]
        part = uuid.UUID(job), int(index)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError):
        return None
    return part if 0 <= part[1] <= MAX_INDEX else None


def _without_death(properties: BasicProperties) -> BasicProperties:
    fresh = copy.copy(properties)
    fresh.headers = {
        key: value
        for key, value in (properties.headers or {}).items()
        if key not in DEATH_HEADERS and not key.startswith(DEATH_PREFIXES)
    }
    # Otherwise an expired message would expire again at once.
    fresh.expiration = None
    fresh.delivery_mode = 2
    return fresh
