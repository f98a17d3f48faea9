"""Base classes of the tasks: they store each attempt in the ledger, whatever its outcome."""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from celery import Task
from celery.exceptions import SoftTimeLimitExceeded
from celery_durable.pool import is_pool_process
from sqlalchemy.orm import Session

from mosaic.config import load_config
from mosaic.ledger import periodic, quick, work
from mosaic.ledger.database import DATABASE_AWAY, transaction
from mosaic.ledger.jobs import TaskCall
from mosaic.ledger.models import DONE, FAILED, HIGH, RETRIED
from mosaic.ledger.work import REPORT_SECONDS, AttemptOverError, PartWork, Product, Runner
from mosaic.publish import publish
from mosaic.settings import LONG_HARD_TIME_LIMIT_SECONDS, LONG_SOFT_TIME_LIMIT_SECONDS
from mosaic.worker.message import message_of

if TYPE_CHECKING:
    BaseTask = Task[Any, Any]
else:
    BaseTask = Task

logger = logging.getLogger(__name__)

NICE = 10
NO_MEMORY = "the host has not enough memory for it"
MAX_COUNTDOWN_SECONDS = 8  # the longest wait after the database is available again


def runner_of(task: BaseTask) -> Runner:
    """Return the task id and process of the attempt that `task` runs."""
    delivery = task.request.delivery_info or {}
    return Runner(
        task_id=str(task.request.id),
        task=str(task.name),
        host=load_config().host,
        pid=os.getpid(),
        redelivered=bool(delivery.get("redelivered")),
        message=message_of(task.request),
    )


class MosaicTask(BaseTask):
    """Base of all tasks."""

    abstract = True
    # The message has (job, index), but `run` takes the part that the ledger has for them.
    typing = False
    Request = "mosaic.worker.message:FollowedRequest"

    def try_again(self, error: Exception) -> Exception:
        """Return the exception that retries the task soon after an interruption, e.g. by the database."""
        # Native delayed delivery needs a whole number of seconds, at least one.
        countdown = min(MAX_COUNTDOWN_SECONDS, 2 ** min(self.request.retries, 5))
        logger.warning("interrupted, next attempt in %d s: %s: %s", countdown, type(error).__name__, error)
        return self.retry(exc=error, countdown=countdown, throw=False)


class PartTask(MosaicTask):
    """A task that does one part: `run` takes a PartWork, returns a Product, and has no other effect.

    If pool processes die during two attempts, the part fails: see mosaic.worker.request.
    A second delivery of a done part changes nothing. An exception in `run` fails the part and its job; an
    unavailable database only delays them. A `run` of more than a few seconds calls `checkpoint`, and starts
    at `part.checkpoint` if there is one.
    """

    abstract = True
    Request = "mosaic.worker.request:PartRequest"
    max_retries = None
    #: Publish the joining part when this attempt completes the other parts.
    publishes_join = False
    #: Exceptions that end an attempt, but not its part.
    interruptions: tuple[type[Exception], ...] = DATABASE_AWAY

    def __call__(self, job: str, index: int) -> None:
        """Do part `index` of `job` once. Raises what `run` raises, or Retry after an interruption."""
        runner, job_id = runner_of(self), uuid.UUID(job)
        try:
            part = quick.begin(runner, job_id, index)
            # A process that was killed has not looked for the end of its job.
            if part is None or self._attempt(part, runner):
                self._advance(job_id)
        except self.interruptions as error:
            raise self.try_again(error) from error

    def checkpoint(self, part: PartWork, fraction: float, state: dict[str, Any]) -> None:
        """Report that `fraction` of the part is done. An attempt that resumes the part gets `state` (JSON).

        `run` calls this several times a second, and one report a second is stored. `run` must not catch
        AttemptOverError: it ends the attempt when the job was cancelled or another attempt has resumed it.
        """
        now = time.monotonic()
        if now - part.reported < REPORT_SECONDS:
            return
        with transaction() as session:
            work.report(session, part, fraction, state)
        part.reported = now

    def _attempt(self, part: PartWork, runner: Runner) -> bool:
        """Run; return whether this may be the end of the job."""
        try:
            product: Product = self.run(part)
        except AttemptOverError:
            with transaction() as session:
                work.leave(session, part)
            return False
        except self.interruptions as error:
            with transaction() as session:
                work.end_attempt(session, part.attempt, RETRIED, f"{type(error).__name__}: {error}")
            raise
        except MemoryError:
            with transaction() as session:
                work.fail(session, part, NO_MEMORY)
            # Celery raises a MemoryError again in the worker's own process, which would end.
            raise RuntimeError(NO_MEMORY) from None
        except Exception as error:
            with transaction() as session:
                work.fail(session, part, str(error) or type(error).__name__)
            raise
        return not quick.finish(part, runner, product)

    def _advance(self, job_id: uuid.UUID) -> None:
        with transaction() as session:
            due = work.advance(session, job_id, self.publishes_join)
        if due:
            # The last task of a job goes ahead of the first tasks of other jobs.
            publish(self.app, [TaskCall(task, (str(job_id), index), priority=HIGH) for task, index in due])


class LongPartTask(PartTask):
    """A task of several minutes: it calls `checkpoint`, and its kind's routing key is `long`.

    On a slow host it reaches its time limit, and resumes as another attempt.
    """

    abstract = True
    interruptions = (*DATABASE_AWAY, SoftTimeLimitExceeded)
    soft_time_limit = LONG_SOFT_TIME_LIMIT_SECONDS
    time_limit = LONG_HARD_TIME_LIMIT_SECONDS

    def __call__(self, job: str, index: int) -> None:
        """Do the part with a lower CPU priority than other processes of this host."""
        if is_pool_process():
            os.setpriority(os.PRIO_PROCESS, 0, NICE)
        super().__call__(job, index)


class PartlessTask(MosaicTask):
    """A task that does no part, e.g. a probe. The ledger has its start and its end."""

    abstract = True
    max_retries = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Store the start, run the task, store its end."""
        with transaction() as session:
            end = self.begin(session, runner_of(self))
        outcome, text = DONE, ""
        try:
            return self.run(*args, **kwargs)
        except Exception as error:
            outcome, text = FAILED, str(error) or type(error).__name__
            raise
        finally:
            with transaction() as session:
                end(session, outcome, text)

    def begin(self, session: Session, runner: Runner) -> Callable[[Session, str, str], None]:
        """Store the start; return the function that stores the end, with outcome and error."""
        attempt = work.begin_attempt(session, runner)
        return lambda session, outcome, error: work.end_attempt(session, attempt, outcome, error)


class PeriodicTask(PartlessTask):
    """A task that beat sends. The ledger has its latest run only."""

    abstract = True

    def begin(self, session: Session, runner: Runner) -> Callable[[Session, str, str], None]:
        """Store the start; return the function that stores the end, with outcome and error."""
        periodic.begin(session, runner, str(self.request.origin or "").rpartition("@")[2])
        return lambda session, outcome, error: periodic.end(session, runner, outcome, error)
