"""Warren's tasks of drills."""

from __future__ import annotations

from typing import Any

from celery import shared_task

from mosaic.drill import units
from mosaic.ledger.database import DATABASE_AWAY
from mosaic.ledger.work import Runner
from mosaic.tasks.base import MosaicTask, runner_of


class DrillTask(MosaicTask):
    """A task of a drill. It is retried while the database is unavailable."""

    abstract = True
    max_retries = None

    def __call__(self, run: str, unit: int, *arguments: Any) -> None:
        """Do unit `unit` of the drill `run`. Raises Retry while the database is unavailable."""
        try:
            self.run(runner_of(self), run, unit, *arguments)
        except DATABASE_AWAY as error:
            raise self.try_again(error) from error


def _add_task(kind: str) -> None:
    @shared_task(base=DrillTask, name=f"mosaic.drill.{kind}")
    def task(runner: Runner, run: str, unit: int, *arguments: Any) -> None:
        units.attempt(kind, runner, run, unit, *arguments)


for _kind in units.KINDS:
    _add_task(_kind)
