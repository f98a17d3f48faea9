"""What the two pika services share: a connection, and reconnecting for ever with backoff."""

from __future__ import annotations

import logging
import random
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Protocol

import pika
import pika.exceptions

from celery_durable import systemd

logger = logging.getLogger(__name__)

MAX_PAUSE_SECONDS = 10.0
CALM_SECONDS = 30.0


class Stop(Exception):  # noqa: N818  ends a loop; nothing went wrong
    """The service was told to end."""


class Service(Protocol):
    """What runs until it is told to stop."""

    def run(self) -> None:
        """Run until `stop`."""

    def stop(self) -> None:
        """End `run` soon."""


def connect(url: str, heartbeat: int, name: str, attempts: int = 1) -> pika.BlockingConnection:
    """Connect; `name` is what the management page shows. Raises pika's and socket errors."""
    parameters = pika.URLParameters(url)
    parameters.connection_attempts = attempts
    parameters.retry_delay = 1
    parameters.heartbeat = heartbeat
    parameters.socket_timeout = 4
    parameters.stack_timeout = 8
    parameters.blocked_connection_timeout = 30
    parameters.client_properties = {"connection_name": name}
    return pika.BlockingConnection(parameters)


def run_for_ever(work: Callable[[], None], what: str, pause: Callable[[float], None] = time.sleep) -> None:
    """Call `work` again whenever the broker fails it, pausing longer each time, until it raises Stop."""
    failures = 0
    while True:
        started = time.monotonic()
        try:
            work()
        except Stop:
            return
        except (pika.exceptions.AMQPError, OSError) as error:
            failures = 1 if time.monotonic() - started > CALM_SECONDS else failures + 1
            seconds = min(MAX_PAUSE_SECONDS, 0.25 * 2 ** min(failures, 6)) * random.uniform(0.7, 1.0)  # noqa: S311  spreads clients, hides nothing
            logger.warning("%s: %s; again in %.1f s", what, describe(error), seconds)
            try:
                pause(seconds)
            except Stop:
                return


def describe(error: BaseException) -> str:
    """Return an error in one line; some of pika's have no text."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def run_until_signal(service: Service) -> None:
    """Run a service until SIGTERM or SIGINT."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        systemd.stopping()
        service.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    service.run()
