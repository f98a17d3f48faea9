"""The publisher's side of a drill's ledger: a file of JSON lines, each on the disk before the next step."""

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

    A unit is attempted before it is sent, and afterwards confirmed, or unknown when no confirm came. Of units
    that a publisher sends together all are attempted before the first is sent; all are confirmed when the
    last one is, at that time, or all unknown when one has no confirm.
    """

    def __init__(self, path: Path) -> None:
        """Begin a new file. Raises FileExistsError: a run's ledger is never written over."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o640)
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def enter(self, at: float, unit: int, kind: str, publisher: str, state: str) -> None:
        """Append one line and wait until the disk has it."""
        entry = {"at": round(at, 4), "unit": unit, "kind": kind, "publisher": publisher, "state": state}
        with self._lock:
            os.write(self._descriptor, (json.dumps(entry) + "\n").encode())
            os.fdatasync(self._descriptor)
            self._counts[state] += 1

    def count(self, state: str) -> int:
        """Return how many lines there are of this state."""
        with self._lock:
            return self._counts[state]
