"""Reading the systemd journal: new entries, starting after those of the last run."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import selectors
import subprocess
from pathlib import Path
from typing import IO, Any, cast

from mosaic.logs.entry import Entry

FIELDS = "MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,_SYSTEMD_UNIT,_PID"
FIRST_LINES = 200
MAX_MESSAGE = 8192
READ_SIZE = 65536
DEFAULT_PRIORITY = 6


class Journal:
    """Entries of `journalctl --follow`, read without blocking."""

    def __init__(self, cursor: str | None) -> None:
        """Start after `cursor`, or with the latest entries if it is None."""
        command = ["journalctl", "--follow", "--output=json", "--all", f"--output-fields={FIELDS}"]
        command += (
            [f"--after-cursor={cursor}", "--no-tail"] if cursor is not None else [f"--lines={FIRST_LINES}"]
        )
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self._pipe = cast(IO[bytes], self._process.stdout)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._pipe, selectors.EVENT_READ)
        self._buffer = b""

    def read(self, seconds: float) -> list[dict[str, Any]]:
        """Return the entries that arrive within `seconds`. Raises EOFError if journalctl has ended."""
        if not self._selector.select(seconds):
            return []
        data = os.read(self._pipe.fileno(), READ_SIZE)
        if not data:
            raise EOFError(f"journalctl ended with exit code {self._process.wait()}")
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        return [json.loads(line) for line in lines if line]

    def close(self) -> None:
        """End journalctl."""
        self._selector.close()
        self._process.terminate()
        self._process.wait()
        self._pipe.close()


class CursorFile:
    """The position up to which the journal has been published, in a file."""

    def __init__(self, path: Path) -> None:
        """Store the cursor at `path`."""
        self._path = path

    def load(self) -> str | None:
        """Return the cursor, or None on the first run."""
        try:
            return self._path.read_text(encoding="ascii").strip() or None
        except (FileNotFoundError, UnicodeDecodeError):
            return None

    def save(self, cursor: str) -> None:
        """Replace the cursor; an empty one is none. A crash leaves either the old or the new one."""
        draft = self._path.with_suffix(".new")
        draft.write_text(cursor + "\n", encoding="ascii")
        draft.replace(self._path)


def to_entry(fields: dict[str, Any], host: str) -> Entry:
    """Turn the fields of a journal entry into a log record of `host`."""
    cursor = str(fields["__CURSOR"])
    microseconds = int(fields["__REALTIME_TIMESTAMP"])
    return Entry(
        message_id=hashlib.sha256(f"{host}\n{cursor}".encode()).hexdigest()[:40],
        host=host,
        severity=_priority(fields.get("PRIORITY")),
        unit=_text(fields.get("_SYSTEMD_UNIT") or fields.get("SYSLOG_IDENTIFIER") or "")[:200],
        message=_text(fields.get("MESSAGE"))[:MAX_MESSAGE],
        logged_at=datetime.datetime.fromtimestamp(microseconds / 1e6, datetime.UTC),
    )


def own_unit() -> str | None:
    """Return the systemd unit this process runs in, or None outside any."""
    try:
        groups = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in groups:
        name = line.rpartition("/")[2]
        if name.endswith(".service"):
            return name
    return None


def _priority(value: object) -> int:
    text = _text(value)
    return int(text) if text in tuple("01234567") else DEFAULT_PRIORITY


def _text(value: object) -> str:
    """Return a field's text: bytes are a list of numbers, repeated fields a list of values."""
    if isinstance(value, list):
        if all(isinstance(item, int) for item in value):
            value = bytes(value).decode("utf-8", "replace")
        else:
            value = "\n".join(_text(item) for item in value)
    return "" if value is None else str(value)
