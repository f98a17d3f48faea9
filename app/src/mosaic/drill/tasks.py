"""Tasks of drills: they take their time, kill their process, or hold their message too long."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from celery import shared_task

from mosaic.drill import hold
from mosaic.drill.attempt import attempt
from mosaic.ledger.database import DATABASE_AWAY
from mosaic.ledger.drills import Unit
from mosaic.tasks.base import MosaicTask


class DrillTask(MosaicTask):
    """Base of a drill's tasks: `run` takes the unit, the attempt's number and the further arguments.

    An absent database puts the attempt off, before it or at its end.
    """

    abstract = True
    max_retries = None

    def __call__(self, run: str, unit: int, *args: Any) -> None:
        """Do unit `unit` of the drill `run`. Raises Retry when the database is away."""
        try:
            of = Unit(run, unit)
            attempt(of, self.runner(), lambda number: self.run(of, number, *args))
        except DATABASE_AWAY as error:
            raise self.try_again(error) from error


@shared_task(base=DrillTask, name="mosaic.drill.work")
def work(_unit: Unit, _number: int, seconds: float) -> None:
    """Take `seconds`."""
    time.sleep(seconds)


@shared_task(base=DrillTask, name="mosaic.drill.held")
def held(unit: Unit, number: int, seconds: float) -> None:
    """Stay at work at the first attempt until the load lets go, for `seconds` at most."""
    hold.stay(unit, number, seconds)


@shared_task(base=DrillTask, name="mosaic.drill.poison")
def poison(_unit: Unit, _number: int) -> None:
    """Kill the process that runs this, at every attempt, as a fault in native code does."""
    os.kill(os.getpid(), signal.SIGKILL)


@shared_task(base=DrillTask, name="mosaic.drill.hog")
def hog(_unit: Unit, number: int, seconds: float) -> None:
    """Take `seconds` at the first attempt, longer than the broker waits, and no time later."""
    if number == 1:
        time.sleep(seconds)
