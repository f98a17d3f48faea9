"""The database result backend without pickle.

Celery 5.7 calls `pickle.loads` for a stored value that begins with 0x80, whatever `result_accept_content`
contains. Celery 5.6 pickles every result. So anyone who can write one row can run code on every host that
reads it.
"""

from __future__ import annotations

from typing import Any

from celery.backends.database import DatabaseBackend
from celery.exceptions import ImproperlyConfigured
from kombu.utils.encoding import ensure_bytes


class NoPickleDatabaseBackend(DatabaseBackend):
    """Celery's backend. A format that is not in `result_accept_content` is an error."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Raise ImproperlyConfigured with Celery before 5.7."""
        if not hasattr(DatabaseBackend, "_decode_stored_result"):
            raise ImproperlyConfigured(
                "Celery before 5.7 stores the results of a database backend as pickle, which can run code;"
                " use Celery 5.7, or another result backend."
            )
        super().__init__(*args, **kwargs)

    def _decode_stored_result(self, payload: Any) -> Any:
        return payload if payload is None else self.decode(ensure_bytes(payload))
