"""The producer's part of a drill's ledger: a file of JSON lines, each on disk before the next step."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from pathlib import Path

ATTEMPTED = "attempted"
CONFIRMED = "confirmed"
UNKNOWN = "unknown"


class LedgerFile:
    """Lines {"at", "unit", "kind", "publisher", "state"}; `at` in seconds since 1970, `state` one of three.

    A unit is `attempted` before it is sent. Then it is `confirmed`, or `unknown` without a publisher confirm.
    If a publisher sends several units together, all are attempted before the first is sent. All are confirmed
    at the time of the last confirm, or all are unknown if one confirm is missing.
    """

    def __init__(self, path: Path) -> None:
        """Create the file. Raises FileExistsError: the ledger of a run is never overwritten."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o640)
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def enter(self, at: float, unit: int, kind: str, publisher: str, state: str) -> None:
        """Append one line and wait until it is on disk."""
        entry = {"at": round(at, 4), "unit": unit, "kind": kind, "publisher": publisher, "state": state}
        with self._lock:
            os.write(self._descriptor, (json.dumps(entry) + "\n").encode())
            os.fdatasync(self._descriptor)
            self._counts[state] += 1

    def count(self, state: str) -> int:
        """Return the number of lines with this state."""
        with self._lock:
            return self._counts[state]
