"""The tasks that beat sends (tick, sweep, purge), and the probe."""

from __future__ import annotations

import logging

from celery import shared_task

from mosaic.config import load_config
from mosaic.ledger import periodic, upkeep
from mosaic.ledger.database import transaction
from mosaic.publish import publish
from mosaic.tasks.base import PartlessTask, PeriodicTask

logger = logging.getLogger(__name__)


@shared_task(base=PartlessTask, name="mosaic.probe")
def probe() -> None:
    """Do nothing. The attempt in the ledger shows that the host executes tasks."""


@shared_task(base=PeriodicTask, name=periodic.TICK)
def tick() -> None:
    """Do nothing. The run in the ledger shows that beat, brokers, workers and database work together."""


@shared_task(bind=True, base=PeriodicTask, name="mosaic.upkeep.sweep")
def sweep(self: PeriodicTask) -> None:
    """Publish lost parts again, e.g. of a gateway that died before it published them."""
    with self.app.connection_for_read() as connection, transaction() as session:

        def queue_is_empty(task: str) -> bool:
            queue = self.app.amqp.router.route({}, task)["queue"]
            with connection.channel() as channel:
                declared = queue.bind(channel).queue_declare(passive=True)
            return int(declared.message_count) == 0

        calls, gave_up = upkeep.sweep(session, load_config().upkeep, queue_is_empty)
    publish(self.app, calls)
    if calls or gave_up:
        logger.warning("published %d lost parts again, gave up on %d", len(calls), gave_up)


@shared_task(base=PeriodicTask, name="mosaic.upkeep.purge")
def purge() -> None:
    """Delete old records."""
    with transaction() as session:
        rows = upkeep.purge(session, load_config().upkeep)
    if rows:
        logger.info("purged %d rows", rows)
