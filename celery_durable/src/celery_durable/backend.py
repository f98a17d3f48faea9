"""The database result backend without pickle.

Celery 5.7 falls back to `pickle.loads` for a stored value that begins with 0x80, whatever
`result_accept_content` says; Celery 5.6 pickles every result. Who can write one row can then run code on
every host that reads it.
"""

from __future__ import annotations

from typing import Any

from celery.backends.database import DatabaseBackend
from celery.exceptions import ImproperlyConfigured
from kombu.utils.encoding import ensure_bytes


class NoPickleDatabaseBackend(DatabaseBackend):
    """Celery's backend; what `result_accept_content` does not name is an error, not code that runs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Raises ImproperlyConfigured with a Celery before 5.7."""
        if not hasattr(DatabaseBackend, "_decode_stored_result"):
            raise ImproperlyConfigured(
                "Celery before 5.7 stores the results of a database backend as pickle, which can run code;"
                " use Celery 5.7, or another result backend."
            )
        super().__init__(*args, **kwargs)

    def _decode_stored_result(self, payload: Any) -> Any:
        return payload if payload is None else self.decode(ensure_bytes(payload))
