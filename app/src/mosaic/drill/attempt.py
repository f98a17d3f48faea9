"""One attempt at a unit of a drill, the same for the lab's tasks and for plain Celery."""

from __future__ import annotations

from collections.abc import Callable

from mosaic.ledger import drills
from mosaic.ledger.database import transaction
from mosaic.ledger.drills import Unit
from mosaic.ledger.work import Runner


def attempt(unit: Unit, runner: Runner, work: Callable[[int], object]) -> None:
    """Enter the attempt, do `work` with its number, and have the unit's effect, unless it was had before."""
    with transaction() as session:
        begun = drills.begin(session, unit, runner)
    if begun is not None:
        work(begun.number)
        with transaction() as session:
            drills.finish(session, unit, begun)
