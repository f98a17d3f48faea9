"""A worker stores in the ledger that one of its pool processes died during a part."""

from __future__ import annotations

import logging
import re
import uuid
from typing import Any

from billiard.einfo import ExceptionWithTraceback  # type: ignore[attr-defined]
from billiard.exceptions import WorkerLostError

from mosaic.ledger import work
from mosaic.ledger.database import DATABASE_AWAY, engine, transaction
from mosaic.worker.message import FollowedRequest

logger = logging.getLogger(__name__)

# The worker itself ends its processes with other signals.
DEADLY = re.compile(r"signal \d+ \(SIG(KILL|SEGV|BUS|ABRT|FPE|ILL|SYS)\)")


class PartRequest(FollowedRequest):
    """The worker's side of a part's task: mosaic.tasks.base.PartTask."""

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> None:
        """Store a lost process before the message returns to its queue; the next attempt reads the ledger."""
        error = exc_info.exception
        error = error.exc if isinstance(error, ExceptionWithTraceback) else error
        signal = DEADLY.search(str(error))
        is_cancelled: bool = self._already_cancelled  # type: ignore[attr-defined]
        if isinstance(error, WorkerLostError) and signal and not is_cancelled:
            self._store_lost(signal[0])
        super().on_failure(exc_info, send_failed_event, return_ok)

    def _store_lost(self, signal: str) -> None:
        job, index = self.args
        try:
            with transaction() as session:
                work.lose(session, str(self.id), uuid.UUID(job), index, signal)
        except DATABASE_AWAY as error:
            logger.warning("the loss of a pool process is not in the ledger: %s", error)
        finally:
            # Pool processes that are forked later must not inherit the connection.
            engine().dispose()
