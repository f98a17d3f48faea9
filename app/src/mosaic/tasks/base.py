"""What every task of the application does: enter its attempt in the ledger, whatever its outcome."""

from __future__ import annotations

import logging
import os
import time
import uuid
from typing import TYPE_CHECKING, Any

from celery import Task
from celery.exceptions import SoftTimeLimitExceeded
from celery_durable.pool import is_pool_process

from mosaic.config import load_config
from mosaic.ledger import checkpoints, periodic, work
from mosaic.ledger.checkpoints import REPORT_SECONDS, AttemptOverError
from mosaic.ledger.database import DATABASE_AWAY, transaction
from mosaic.ledger.jobs import TaskCall
from mosaic.ledger.models import DONE, FAILED
from mosaic.ledger.work import PartWork, Product, Runner
from mosaic.publish import publish
from mosaic.settings import LONG_HARD_TIME_LIMIT_SECONDS, LONG_SOFT_TIME_LIMIT_SECONDS

if TYPE_CHECKING:
    BaseTask = Task[Any, Any]
else:
    BaseTask = Task

logger = logging.getLogger(__name__)

NICE = 10
MAX_COUNTDOWN_SECONDS = 8  # the longest that a task waits once the database is back


def runner_of(task: BaseTask) -> Runner:
    """Return who runs the attempt that `task` is at."""
    delivery = task.request.delivery_info or {}
    return Runner(
        task_id=str(task.request.id),
        task=str(task.name),
        host=load_config().host,
        pid=os.getpid(),
        redelivered=bool(delivery.get("redelivered")),
    )


class MosaicTask(BaseTask):
    """Base of all tasks: acknowledged when done, and aware of who runs it."""

    abstract = True
    acks_late = True
    reject_on_worker_lost = True
    # The message carries (job, index); `run` takes what the ledger says of that part.
    typing = False

    def runner(self) -> Runner:
        """Return who runs this attempt."""
        return runner_of(self)

    def try_again(self, error: Exception) -> Exception:
        """Return what to raise after an interruption, e.g. by the database: the task comes again soon."""
        # Native delayed delivery takes whole seconds, one at least.
        countdown = min(MAX_COUNTDOWN_SECONDS, 2 ** min(self.request.retries, 5))
        logger.warning("interrupted, trying again in %d s: %s: %s", countdown, type(error).__name__, error)
        return self.retry(exc=error, countdown=countdown, throw=False)


class PartTask(MosaicTask):
    """A task that does one part: `run` takes a PartWork and returns a Product, and touches nothing else.

    A part that is done already is left alone, so a second delivery changes nothing. An exception of `run`
    fails the part and its job for good; an absent database does not. A `run` of more than some seconds calls
    `checkpoint`, and begins at `part.checkpoint` if there is one.
    """

    abstract = True
    max_retries = None
    #: Publish the part that joins the others when this attempt completed them.
    publishes_join = False
    #: What ends an attempt, but not its part.
    interruptions: tuple[type[Exception], ...] = DATABASE_AWAY

    def __call__(self, job: str, index: int) -> None:
        """Do part `index` of `job`, once. Raises what `run` raised; Retry when it was interrupted."""
        runner = self.runner()
        try:
            with transaction() as session:
                part = work.begin(session, runner, uuid.UUID(job), index)
            if part is not None:
                self._attempt(part, runner)
        except self.interruptions as error:
            raise self.try_again(error) from error

    def checkpoint(self, part: PartWork, fraction: float, state: dict[str, Any]) -> None:
        """Report that `fraction` of the part is done; an attempt that resumes it is given `state` (JSON).

        `run` calls this after each piece of work of well under a second; it is kept once a second. Raises
        AttemptOverError, to be let through, when there is nothing more to do: the job was cancelled, or
        another attempt has resumed from the latest checkpoint.
        """
        now = time.monotonic()
        if now - part.reported < REPORT_SECONDS:
            return
        with transaction() as session:
            checkpoints.report(session, part, fraction, state)
        part.reported = now

    def _attempt(self, part: PartWork, runner: Runner) -> None:
        try:
            product: Product = self.run(part)
        except AttemptOverError:
            with transaction() as session:
                checkpoints.leave(session, part)
            return
        except self.interruptions as error:
            with transaction() as session:
                work.put_off(session, part, f"{type(error).__name__}: {error}")
            raise
        except Exception as error:
            with transaction() as session:
                work.fail(session, part, str(error) or type(error).__name__)
            raise
        with transaction() as session:
            due = work.finish(session, part, runner, product)
        if self.publishes_join:
            # What ends a job waits behind nothing that begins another.
            publish(self.app, [TaskCall(task, (str(part.job_id), index), urgent=True) for task, index in due])


class LongPartTask(PartTask):
    """A task of minutes: it calls `checkpoint`, and its kind's routing key is `long`.

    On a host that has no time for it, it resumes as another attempt when its time is up.
    """

    abstract = True
    interruptions = (*DATABASE_AWAY, SoftTimeLimitExceeded)
    soft_time_limit = LONG_SOFT_TIME_LIMIT_SECONDS
    time_limit = LONG_HARD_TIME_LIMIT_SECONDS

    def __call__(self, job: str, index: int) -> None:
        """Do the part, behind whatever else wants the processors of this host."""
        if is_pool_process():
            os.setpriority(os.PRIO_PROCESS, 0, NICE)
        super().__call__(job, index)


class PeriodicTask(MosaicTask):
    """A task that beat sends: its latest run is kept, for the console; `run` does the rest."""

    abstract = True
    max_retries = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task between the entries of its start and its end."""
        runner = self.runner()
        beat_host = str(self.request.origin or "").rpartition("@")[2]
        with transaction() as session:
            periodic.begin(session, runner, beat_host)
        outcome, text = DONE, ""
        try:
            return self.run(*args, **kwargs)
        except Exception as error:
            outcome, text = FAILED, str(error) or type(error).__name__
            raise
        finally:
            with transaction() as session:
                periodic.end(session, runner, outcome, text)


class PartlessTask(MosaicTask):
    """A task outside any job, e.g. a probe: its attempt is recorded, `run` does the rest."""

    abstract = True
    max_retries = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task between the entries of its start and its end."""
        with transaction() as session:
            attempt = work.begin_partless(session, self.runner())
        try:
            result = self.run(*args, **kwargs)
        except Exception as error:
            with transaction() as session:
                work.end_partless(session, attempt, FAILED, str(error) or type(error).__name__)
            raise
        with transaction() as session:
            work.end_partless(session, attempt, DONE)
        return result
