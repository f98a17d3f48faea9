"""Messages until their publisher confirm: sent, confirmed, sent again, given up."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from amqp.exceptions import MessageNacked, PreconditionFailed
from celery import Celery
from celery.utils.dispatch import Signal

from celery_durable.link import LINK_ERRORS, Link, Links, Prepared

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 0.2
# The longest wait for the broker. Another thread may have read the confirm, while it declared a queue.
SLICE_SECONDS = 0.1
WRITE_BYTES = 65536  # a write has the timeout of one message, so large messages are written one by one
# How long a broker may take to answer at first. This doubles after each timeout, so that a slow broker, or
# one that blocks publishers by an alarm, does not get the same messages again and again.
PATIENCE_SECONDS = 1.5

message_confirmed = Signal(name="message_confirmed", providing_args=["seconds"])
message_unconfirmed = Signal(name="message_unconfirmed")


class Confirms:
    """Sends messages over one connection at a time, with at most `size` unconfirmed messages.

    Threads share it. One of those that wait for confirms listens to the broker, without the lock.
    """

    def __init__(self, app: Celery, timeout: float, size: int) -> None:
        """Give up a message after `timeout` seconds, however often it was sent."""
        self.link: Link | None = None
        self.reason: Exception | None = None  # the latest error
        self._app = app
        self._timeout = timeout
        self._size = size
        self._changed = threading.Condition()
        self._listening = False  # whether a thread waits for the broker, without the lock
        self._waiting: deque[Prepared] = deque()
        self._failed: list[Prepared] = []
        self._open = 0  # messages that are neither confirmed nor given up
        self._patience = PATIENCE_SECONDS
        self._resume_at = self._next_check = 0.0

    def put(self, prepared: Prepared) -> None:
        """Add a message; `run` sends it."""
        with self._changed:
            self._count(prepared, 1)
            self._waiting.append(prepared)

    @property
    def waiting(self) -> int:
        """How many messages wait to be sent."""
        return len(self._waiting)

    def is_sent(self) -> bool:
        """Whether every message has been sent."""
        return not self._waiting

    def is_done(self) -> bool:
        """Whether every message is confirmed or given up."""
        return not self._open

    def run(
        self, enough: Callable[[], bool], seconds: float, mine: Callable[[Prepared], bool] = lambda _: False
    ) -> None:
        """Send messages and read confirms until `enough`; after `seconds` give up `mine`."""
        end = time.monotonic() + seconds
        while True:
            with self._changed:
                if enough() or self._give_up(end, mine):
                    return
                try:
                    self._step(enough, end)
                    continue
                except LINK_ERRORS as error:
                    self._lose_link(error)
                except BaseException:
                    self._drop_link()
                    raise
            time.sleep(max(0.0, min(PAUSE_SECONDS, end - time.monotonic())))

    def take_failed(self, mine: Callable[[Prepared], bool]) -> list[Prepared]:
        """Remove and return the given-up messages that are `mine`."""
        with self._changed:
            found = [prepared for prepared in self._failed if mine(prepared)]
            self._failed = [prepared for prepared in self._failed if not mine(prepared)]
        return found

    def release(self) -> None:
        """Release the connection for the next window."""
        with self._changed:
            link, self.link = self.link, None
            if link is not None and not self._open:
                Links.of(self._app).give_back(link)
            elif link is not None:
                link.drop()

    @property
    def _on_their_way(self) -> int:
        return len(self.link.unconfirmed) if self.link else 0

    def _step(self, enough: Callable[[], bool], end: float) -> None:
        patience = max(0.3, min(self._patience, end - time.monotonic()))
        link = self.link = self.link or Links.of(self._app).take(self._app, patience)
        link.limit(patience)
        if not self._listening:
            link.take_confirms()
            self._settle(link)
            if link.unconfirmed and time.monotonic() - link.heard_at >= self._patience:
                raise TimeoutError(f"no confirm for {self._patience} s")
        while self._waiting and self._on_their_way < self._size and time.monotonic() >= self._resume_at:
            if not self._send(link):
                return
        if enough():
            return
        now = time.monotonic()
        if link.unconfirmed:
            silence = link.heard_at + self._patience - now
            seconds = max(0.0, min(silence, end - now, self._next_check - now, SLICE_SECONDS))
        else:
            seconds = max(0.0, min(self._resume_at, end) - now)
        if link.unconfirmed and not self._listening:
            self._listen(link, seconds)
        else:
            self._changed.wait(seconds)

    def _listen(self, link: Link, seconds: float) -> None:
        """Wait until the broker sends something. Meanwhile other threads may send messages."""
        self._listening = True
        self._changed.release()
        try:
            link.listen(seconds)
        finally:
            self._changed.acquire()
            self._listening = False
            self._changed.notify_all()

    def _send(self, link: Link) -> bool:
        """Send the next messages that need the same queue. False: one was given up and the link dropped."""
        first = self._waiting[0]
        try:
            link.declare(first)
        except Exception as error:
            if isinstance(error, LINK_ERRORS) and not isinstance(error, PreconditionFailed):
                raise
            self._fail(self._waiting.popleft(), error)  # a conflicting queue
            self._drop_link()
            return False
        messages: list[Prepared] = []
        room, size = self._size - self._on_their_way, 0
        while self._waiting and self._waiting[0].declare is first.declare:
            if len(messages) >= room or size >= WRITE_BYTES:
                break
            messages.append(self._waiting.popleft())
            size += len(messages[-1].encoded.body)
        link.send(messages)
        return True

    def _settle(self, link: Link) -> None:
        """Report confirmed messages, and queue the refused ones again after a pause."""
        now = time.monotonic()
        for prepared in link.confirmed:
            self._count(prepared, -1)
            message_confirmed.send(sender=self._app, seconds=now - prepared.sent_at)
        if link.confirmed:
            self._patience = PATIENCE_SECONDS
            link.confirmed.clear()
        if link.nacked:
            self.reason = MessageNacked("refused by the broker")
            self._resume_at = now + PAUSE_SECONDS
            self._send_again(link.nacked)
            link.nacked.clear()

    def _send_again(self, messages: Sequence[Prepared]) -> None:
        for _ in messages:
            message_unconfirmed.send(sender=self._app)
        self._waiting.extendleft(reversed(messages))

    def _lose_link(self, error: Exception) -> None:
        if any(isinstance(e, TimeoutError) for e in (error, error.__cause__, error.__context__)):
            self._patience *= 2
        if self.link is not None and isinstance(error, PreconditionFailed):
            # One of these messages is too large for the broker, which does not report which one.
            self._settle(self.link)
            for prepared in self.link.unconfirmed.values():
                self._fail(prepared, error)
            self.link.unconfirmed.clear()
        self._drop_link()
        if repr(error) != repr(self.reason):
            logger.warning(
                "publishing again after %r: %d messages are not confirmed", error, len(self._waiting)
            )
        self.reason = error

    def _drop_link(self) -> None:
        """Drop the connection; its unconfirmed messages are sent again before the others."""
        link, self.link = self.link, None
        if link is not None:
            self._settle(link)
            self._send_again(list(link.unconfirmed.values()))
            link.drop()

    def _give_up(self, end: float, mine: Callable[[Prepared], bool]) -> bool:
        """Give up messages after their timeout, ignoring late confirms; return whether it is `end`."""
        now = time.monotonic()
        if now < min(end, self._next_check):
            return False
        sent = list(self.link.unconfirmed.values()) if self.link else []
        left: list[Prepared] = []
        for prepared in (*sent, *self._waiting):
            if now >= prepared.since + self._timeout or (now >= end and mine(prepared)):
                self._fail(prepared)
            else:
                left.append(prepared)
        self._waiting = deque(prepared for prepared in self._waiting if prepared in left)
        if self.link is not None:
            for prepared in sent:
                if prepared not in left:
                    self.link.forget(prepared)
            if sent and not self.link.unconfirmed:
                self._drop_link()  # it does not answer
        self._next_check = self._timeout + min((prepared.since for prepared in left), default=now)
        return now >= end

    def _fail(self, prepared: Prepared, error: Exception | None = None) -> None:
        prepared.error = error
        self._count(prepared, -1)
        self._failed.append(prepared)

    def _count(self, prepared: Prepared, change: int) -> None:
        self._open += change
        prepared.caller.open += change
