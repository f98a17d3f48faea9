"""Logging to standard error, with a prefix from which the journal reads the severity."""

from __future__ import annotations

import logging
import os
import sys

SEVERITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")


def syslog_priority(level: int) -> int:
    """Return the syslog priority (0 emerg .. 7 debug) of a Python logging level."""
    priorities = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
    return next((priority for least, priority in priorities if level >= least), 7)


class JournalFormatter(logging.Formatter):
    """Adds `<priority>` to the start of each line, see sd-daemon(3)."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's lines, each with its prefix."""
        prefix = f"<{syslog_priority(record.levelno)}>"
        return "\n".join(prefix + line for line in super().format(record).splitlines() or [""])


def configure_logging(level: int = logging.INFO) -> None:
    """Log to standard error: with priorities under systemd, with times elsewhere."""
    handler = logging.StreamHandler(sys.stderr)
    if os.environ.get("JOURNAL_STREAM"):
        handler.setFormatter(JournalFormatter("%(name)s: %(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Two lines for each task would be too much. The ledger has every attempt.
    for name in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    # pika logs each step of a connection attempt; mosaic.service logs the result in one line.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    # The gateway sends a request to a broker every two seconds; each would be a line in the log.
    logging.getLogger("httpx").setLevel(max(level, logging.WARNING))
