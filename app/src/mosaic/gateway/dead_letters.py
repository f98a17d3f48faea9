"""/api/dead-letters: messages that no consumer could finish; an operator sends them back or drops them."""

from __future__ import annotations

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
from mosaic.gateway.errors import ApiError, Unavailable
from mosaic.ledger import work
from mosaic.ledger.database import transaction
from mosaic.service import connect

router = APIRouter(prefix="/api/dead-letters")

DROPPED = "its message was dropped from the dead letters"
PATIENCE_SECONDS = 3.0
Result = TypeVar("Result")
# Two requests at the same time would not see the messages that the other one holds.
_one_at_a_time = threading.Lock()

Handle = Annotated[str, Path(pattern=r"^[0-9a-f]{24}$")]


class LetterList(BaseModel):
    """Some dead letters, and the number of all."""

    total: int
    letters: list[Letter]


@router.get("")
def list_dead_letters(config: TheConfig, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> LetterList:
    """List dead letters; they stay in their queue."""
    letters, total = _with_broker(config, lambda connection: dead_letters.listed(connection, limit))
    return LetterList(total=total, letters=letters)


@router.post("/{handle}/retry")
def retry_dead_letter(config: TheConfig, handle: Handle) -> Letter:
    """Send a dead letter back to its exchange; a failed part of a job is accepted again."""
    return _with_broker(config, lambda connection: dead_letters.retry(connection, handle, _revive))


@router.post("/{handle}/drop")
def drop_dead_letter(config: TheConfig, handle: Handle) -> Letter:
    """Delete a dead letter; if it is the task of a job's part, this part fails."""
    return _with_broker(config, lambda connection: dead_letters.drop(connection, handle, _give_up))


def _revive(letter: Letter) -> None:
    if letter.part is not None:
        with transaction() as session:
            work.revive(session, *letter.part)


def _give_up(letter: Letter) -> None:
    if letter.part is not None:
        with transaction() as session:
            work.give_up(session, *letter.part, DROPPED)


def _with_broker(config: TheConfig, act: Callable[[BlockingConnection], Result]) -> Result:
    if not _one_at_a_time.acquire(timeout=PATIENCE_SECONDS):
        raise Unavailable("the dead letters are in use by another request; try again.", 2)
    try:
        name = f"dead-letters@{config.host}"
        with connect(config.broker.url, config.broker.heartbeat, name) as connection:
            return act(connection)
    except GoneError as error:
        raise ApiError(404, f"this dead letter cannot be taken: {error}.") from None
    except pika.exceptions.UnroutableError:
        sentence = "no queue is bound for this letter's routing key any more; it stays in the dead letters."
        raise ApiError(409, sentence) from None
    except (pika.exceptions.AMQPError, OSError) as error:
        raise Unavailable("the broker does not answer; the dead letters stay in their queue.") from error
    finally:
        _one_at_a_time.release()
