"""/api/dead-letters: what no consumer could finish; sent back or dropped, one at a time."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable
from typing import Annotated, TypeVar

import pika.exceptions
from fastapi import APIRouter, Path, Query
from pika.adapters.blocking_connection import BlockingConnection
from pydantic import BaseModel

from mosaic import dead_letters
from mosaic.dead_letters import GoneError, Letter
from mosaic.gateway.deps import TheConfig
from mosaic.gateway.errors import ApiError
from mosaic.ledger import operator_actions
from mosaic.ledger.database import transaction
from mosaic.logs.service import connect

router = APIRouter(prefix="/api/dead-letters")

DROPPED = "its message was dropped from the dead letters"
PATIENCE_SECONDS = 3.0
Result = TypeVar("Result")
# Two requests at once would each see what the other does not hold.
_one_at_a_time = threading.Lock()

Handle = Annotated[str, Path(pattern=r"^[0-9a-f]{24}$")]


class LetterAnswer(BaseModel):
    """A dead letter; `reason` is RabbitMQ's word for why it died in `queue`, `count` how often."""

    handle: str
    name: str
    reason: str
    queue: str
    count: int
    at: datetime.datetime | None
    exchange: str
    routing_key: str
    preview: str

    @classmethod
    def of(cls, letter: Letter) -> LetterAnswer:
        """Return the answer for a letter."""
        at = None if letter.at is None else datetime.datetime.fromtimestamp(letter.at, datetime.UTC)
        return cls(**{**vars(letter), "at": at})


class LetterList(BaseModel):
    """Some of the dead letters, and how many there are."""

    total: int
    letters: list[LetterAnswer]


@router.get("")
def list_dead_letters(config: TheConfig, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> LetterList:
    """List dead letters; they stay where they are."""
    letters, total = _with_broker(config, lambda connection: dead_letters.listed(connection, limit))
    return LetterList(total=total, letters=[LetterAnswer.of(letter) for letter in letters])


@router.post("/{handle}/retry")
def retry_dead_letter(config: TheConfig, handle: Handle) -> LetterAnswer:
    """Send a dead letter back to where it came from; a failed part of a job gets another chance."""
    letter = _with_broker(config, lambda connection: dead_letters.retry(connection, handle, _revive))
    return LetterAnswer.of(letter)


@router.post("/{handle}/drop")
def drop_dead_letter(config: TheConfig, handle: Handle) -> LetterAnswer:
    """Drop a dead letter for good; the part of a job that it asked for counts as failed."""
    letter = _with_broker(config, lambda connection: dead_letters.drop(connection, handle, _give_up))
    return LetterAnswer.of(letter)


def _revive(letter: Letter) -> None:
    if letter.part is not None:
        with transaction() as session:
            operator_actions.revive(session, *letter.part)


def _give_up(letter: Letter) -> None:
    if letter.part is not None:
        with transaction() as session:
            operator_actions.give_up(session, *letter.part, DROPPED)


def _with_broker(config: TheConfig, work: Callable[[BlockingConnection], Result]) -> Result:
    if not _one_at_a_time.acquire(timeout=PATIENCE_SECONDS):
        raise ApiError(
            503, "the dead letters are in use by another request; try again.", {"Retry-After": "2"}
        )
    try:
        connection = connect(config.broker.url, config.broker.heartbeat, f"dead-letters@{config.host}")
        try:
            return work(connection)
        finally:
            if connection.is_open:
                connection.close()
    except GoneError as error:
        raise ApiError(404, f"this dead letter cannot be taken: {error}.") from None
    except pika.exceptions.UnroutableError:
        raise ApiError(
            409, "no queue takes this letter any more where it came from; it stays where it is."
        ) from None
    except (pika.exceptions.AMQPError, OSError) as error:
        raise ApiError(
            503, "the broker does not answer; the dead letters stay where they are.", {"Retry-After": "5"}
        ) from error
    finally:
        _one_at_a_time.release()
