"""Logging to standard error, with the priority prefix by which the journal tells severities apart."""

from __future__ import annotations

import logging
import os
import sys

SEVERITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")


def syslog_priority(level: int) -> int:
    """Return the syslog priority (0 emerg .. 7 debug) of a Python logging level."""
    if level >= logging.CRITICAL:
        return 2
    if level >= logging.ERROR:
        return 3
    if level >= logging.WARNING:
        return 4
    if level >= logging.INFO:
        return 6
    return 7


class JournalFormatter(logging.Formatter):
    """Prefixes each line with `<priority>`, as sd-daemon(3) describes."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's lines, each with its prefix."""
        prefix = f"<{syslog_priority(record.levelno)}>"
        return "\n".join(prefix + line for line in super().format(record).splitlines() or [""])


def configure_logging(level: int = logging.INFO) -> None:
    """Send the root logger to standard error: prefixed under systemd, with the time elsewhere."""
    handler = logging.StreamHandler(sys.stderr)
    if os.environ.get("JOURNAL_STREAM"):
        handler.setFormatter(JournalFormatter("%(name)s: %(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Two lines a task would be more log than work; the ledger records every attempt.
    for name in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    # pika reports each step of a connection attempt; our own line for it says the same in one sentence.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    # The gateway asks a broker every second or two, which its log would show as a line each.
    logging.getLogger("httpx").setLevel(max(level, logging.WARNING))
