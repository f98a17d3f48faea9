"""Publishing many tasks with publisher confirms, many on their way at once.

Celery's own `confirm_publish` waits for each confirm: 350 tasks/s, where a window of some hundreds reaches
the broker's own speed. A message counts as published when the broker has confirmed it. After a lost
connection or a nack only what is unconfirmed is sent again, so a task may be published twice, never lost.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from amqp.exceptions import PreconditionFailed
from celery import Celery
from celery.result import AsyncResult
from celery.utils.dispatch import Signal
from kombu import Connection, Producer
from kombu.transport.pyamqp import Channel

from celery_durable.link import LINK_ERRORS, Link, Links, Prepared

logger = logging.getLogger(__name__)

SIZE = 200
SILENCE_SECONDS = 1.5
PAUSE_SECONDS = 0.2

message_confirmed = Signal(name="message_confirmed", providing_args=["seconds"])
message_unconfirmed = Signal(name="message_unconfirmed")


class Unconfirmed(Exception):  # noqa: N818 - reads as what it says of the tasks
    """The broker did not confirm these tasks in time: whether they were published is not known.

    Publish them again under the same ids, or tell whoever asked for them. Prevents a caller that takes a lost
    task for an accepted one; shown by the drill `freeze-broker-leader`.
    """

    def __init__(self, task_ids: Iterable[str]) -> None:
        """`task_ids`: of the tasks that were not confirmed, in the order in which they were published."""
        self.task_ids = list(task_ids)
        some = ", ".join(self.task_ids[:3]) + (", ..." if len(self.task_ids) > 3 else "")
        super().__init__(
            f"{len(self.task_ids)} tasks were not confirmed in time and may not have been published: {some}"
        )


class ConfirmWindow:
    """Publishes tasks without waiting for each confirm, and waits for all of them at the end.

        with ConfirmWindow(app, timeout=40) as window:
            resize.apply_async((image_id,), priority=6, producer=window)
            window.send_many(resize, [(1,), (2,)])

    It is passed as `producer` to whatever publishes: `apply_async` and `send_task`, groups, chains, chords.
    Leaving the block waits for every confirm and raises Unconfirmed for those that did not come; an exception
    inside the block is passed on. Threads may share a window.

    Prevents: a task that counts as accepted and is gone with the broker (no confirms), a publisher that hangs
    on a frozen one (Celery's confirms), and 350 tasks/s. Shown by the drill `freeze-broker-leader`.
    """

    def __init__(self, app: Celery, *, timeout: float = 40.0, size: int = SIZE) -> None:
        """Publish tasks of `app`, with at most `size` messages unconfirmed. Connects on first use.

        `timeout`: seconds in which each message has to be confirmed, however often it is sent.
        """
        self._app = app
        self._timeout = timeout
        self._size = size
        self._lock = threading.RLock()
        self._link: Link | None = None
        self._waiting: deque[Prepared] = deque()
        self._failed: list[Prepared] = []
        self._not_before = 0.0
        self._unopened: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None or isinstance(error, Exception):
                self._finish(self._timeout)
        except LINK_ERRORS as other:
            if error is None:
                raise
            error.add_note(str(other))
        finally:
            self._release()
        failed = self._take_failed(lambda _: True)
        if failed and error is None:
            raise failed
        if failed and error is not None:
            error.add_note(str(failed))

    def send_many(
        self, task: Any, arguments: Iterable[Sequence[Any]], **options: Any
    ) -> list[AsyncResult[Any]]:
        """Publish `task` (a task, a signature, or a name) once for each tuple of positional arguments.

        `options` are those of `apply_async`. Returns the results in order. Raises Unconfirmed as `publish`
        does.
        """
        options["producer"] = self
        if isinstance(task, str):
            return [self._app.send_task(task, args=args, **options) for args in arguments]
        return [task.apply_async(args, **options) for args in arguments]

    def flush(self, timeout: float | None = None) -> None:
        """Wait for every confirm, `timeout` seconds at most (None: those of the window).

        Raises Unconfirmed for what this thread published and was not confirmed.
        """
        self._finish(self._timeout if timeout is None else timeout)
        self._raise_failed()

    # What Celery and kombu ask of a producer.

    def publish(self, body: Any, *, declare: Iterable[Any] | None = None, **options: Any) -> None:
        """Send a message as kombu.Producer.publish does, without waiting for its confirm while there is room.

        Raises Unconfirmed when the window stays full for `timeout` seconds, PreconditionFailed when the queue
        exists with other properties.
        """
        options.pop("retry", None)
        options.pop("retry_policy", None)
        prepared = _prepare(body, declare or (), options)
        with self._lock:
            self._waiting.append(prepared)
        self._work(lambda: not self._waiting and self._on_their_way < self._size, self._timeout)
        self._raise_failed()

    @property
    def connection(self) -> Connection:
        """A connection of the application, for the errors that it knows; it is not opened."""
        if self._unopened is None:
            self._unopened = self._app.connection_for_write()
        return self._unopened

    @property
    def channel(self) -> Any:
        """The window's channel. Raises LINK_ERRORS when there is no broker."""
        with self._lock:
            return self._connected(self._timeout).channel

    @property
    def _on_their_way(self) -> int:
        return len(self._link.unconfirmed) if self._link else 0

    def _finish(self, timeout: float) -> None:
        self._work(lambda: not self._waiting and not self._on_their_way, timeout)

    def _work(self, enough: Callable[[], bool], timeout: float) -> None:
        """Send what waits and take in confirms until `enough`, or until a message has had its time."""
        end = time.monotonic() + timeout
        while True:
            with self._lock:
                if enough() or self._give_up(end):
                    return
                try:
                    self._step(enough, end)
                    continue
                except PreconditionFailed as error:
                    self._drop()
                    self._failed += self._waiting
                    self._waiting.clear()
                    raise conflict(error) from error
                except LINK_ERRORS as error:
                    self._drop()
                    logger.warning("publishing again after %r: %d messages left", error, len(self._waiting))
            time.sleep(PAUSE_SECONDS)

    def _step(self, enough: Callable[[], bool], end: float) -> None:
        link = self._connected(end - time.monotonic())
        while self._waiting and len(link.unconfirmed) < self._size and time.monotonic() >= self._not_before:
            prepared = self._waiting.popleft()
            try:
                link.send(prepared)
            except BaseException:
                if prepared not in link.unconfirmed.values():  # what it declares first failed
                    self._waiting.appendleft(prepared)
                raise
        if enough():
            return
        if link.unconfirmed:
            link.take_confirms(min(SILENCE_SECONDS, max(0.05, end - time.monotonic())))
        else:
            time.sleep(max(0.0, min(self._not_before, end) - time.monotonic()))
        self._settle(link)

    def _settle(self, link: Link) -> None:
        """Report what was confirmed; what the broker refused waits for a moment and is sent again."""
        now = time.monotonic()
        for prepared in link.confirmed:
            message_confirmed.send(sender=self._app, seconds=now - prepared.sent_at)
        link.confirmed.clear()
        if link.nacked:
            self._count_unconfirmed(len(link.nacked))
            self._waiting.extendleft(reversed(link.nacked))
            link.nacked.clear()
            self._not_before = now + PAUSE_SECONDS

    def _connected(self, seconds: float) -> Link:
        if self._link is None:
            self._link = Links.of(self._app).take(self._app, seconds)
        return self._link

    def _drop(self) -> None:
        """Give the connection up; what it did not confirm waits again, ahead of the rest."""
        link, self._link = self._link, None
        if link is not None:
            self._settle(link)
            self._count_unconfirmed(len(link.unconfirmed))
            self._waiting.extendleft(reversed(link.unconfirmed.values()))
            link.drop()

    def _give_up(self, end: float) -> bool:
        """Return whether time is over: then what is unconfirmed has failed, and late confirms are ignored."""
        if self._link is not None:
            self._settle(self._link)
        now = time.monotonic()
        unconfirmed = self._link.unconfirmed.values() if self._link else ()
        oldest = min((prepared.since for prepared in (*unconfirmed, *self._waiting)), default=now)
        if now < end and now < oldest + self._timeout:
            return False
        self._drop()
        self._failed += self._waiting
        self._waiting.clear()
        return True

    def _raise_failed(self) -> None:
        me = threading.get_ident()
        failed = self._take_failed(lambda prepared: prepared.owner == me)
        if failed:
            raise failed

    def _take_failed(self, mine: Callable[[Prepared], bool]) -> Unconfirmed | None:
        with self._lock:
            found = [prepared for prepared in self._failed if mine(prepared)]
            self._failed = [prepared for prepared in self._failed if prepared not in found]
        return Unconfirmed(prepared.task_id or "no id" for prepared in found) if found else None

    def _release(self) -> None:
        with self._lock:
            link, self._link = self._link, None
            if link is not None and not link.unconfirmed:
                Links.of(self._app).give_back(link)
            elif link is not None:
                link.drop()

    def _count_unconfirmed(self, count: int) -> None:
        for _ in range(count):
            message_unconfirmed.send(sender=self._app)


class _Recorder:
    """Stands in for a channel: keeps the message that kombu's Producer made, instead of sending it."""

    prepare_message = Channel.prepare_message

    def basic_publish(self, message: Any, **options: Any) -> None:
        """Keep it."""
        self.message, self.options = message, options


def _prepare(body: Any, declare: Iterable[Any], options: dict[str, Any]) -> Prepared:
    recorder: Any = _Recorder()
    Producer(recorder, auto_declare=False).publish(body, **options)
    return Prepared(recorder.message, recorder.options, list(declare), options.get("correlation_id"))


def conflict(error: PreconditionFailed) -> PreconditionFailed:
    """Return the error with what to do about it."""
    return PreconditionFailed(
        f"A queue or an exchange exists with other properties ({error.reply_text}): let its tasks finish, "
        "delete it (rabbitmqctl delete_queue NAME; an exchange on the management page) and start again, "
        "or use another name.",
        error.method_sig,
    )
