"""Publishing many tasks with publisher confirms, many on their way at once.

Celery's own `confirm_publish` waits for each confirm. In a window publishing is as fast as without them: what
is left is Celery's own work on each task. A message counts as published when the broker has confirmed it.
After a lost connection or a nack only what is unconfirmed is sent again: published twice perhaps, never lost.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from functools import partial
from types import TracebackType
from typing import Any, Self, cast

from amqp.exceptions import PreconditionFailed
from celery import Celery
from celery.result import AsyncResult
from kombu import Connection, Producer
from kombu.exceptions import OperationalError
from kombu.transport.pyamqp import Channel

from celery_durable.confirms import Confirms
from celery_durable.link import Caller, Prepared


class Unconfirmed(Exception):  # noqa: N818 - reads as what it says of the tasks
    """The broker did not confirm these tasks in time: whether they were published is not known.

    Publish them again under the same ids, or tell whoever asked for them. Prevents a caller that takes a lost
    task for an accepted one; shown by the drill `freeze-broker-leader`.
    """

    def __init__(self, task_ids: Iterable[str], reason: Exception | None = None) -> None:
        """`task_ids`: of the tasks that were not confirmed, in the order in which they were given up.

        `reason`: the last thing that went wrong.
        """
        self.task_ids = list(task_ids)
        some = ", ".join(self.task_ids[:3]) + (", ..." if len(self.task_ids) > 3 else "")
        why = f"; the last error was {reason!r}" if reason else ""
        super().__init__(
            f"{len(self.task_ids)} tasks were not confirmed in time and may not have been published:"
            f" {some}{why}"
        )


class ConfirmWindow:
    """Publishes tasks without waiting for each confirm, and waits for all of them at the end.

        with ConfirmWindow(app, timeout=40) as window:
            resize.apply_async((image_id,), priority=6, producer=window)
            window.send_many(resize, [(1,), (2,)])

    It is passed as `producer` to `apply_async` and `send_task` of tasks and groups.
    Leaving the block waits for every confirm and raises Unconfirmed for those that did not come; an exception
    inside the block is passed on. Threads may share a window: each learns of its own tasks, and whoever
    leaves the block of all others.

    Prevents: a task that counts as accepted and is gone with the broker (no confirms), a publisher that hangs
    on a frozen one, and a quarter of the speed (Celery's confirms). Shown by the drill
    `freeze-broker-leader`.
    """

    serializer = None  # Celery looks for it under task_always_eager

    def __init__(self, app: Celery, *, timeout: float = 40.0, size: int = 200) -> None:
        """Publish tasks of `app`, with at most `size` messages unconfirmed. Connects on first use.

        `timeout`: seconds in which each message has to be confirmed, however often it is sent.
        """
        self._app = app
        self._timeout = timeout
        self._size = size
        self._unopened: Connection | None = None
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._confirms = Confirms(self._app, self._timeout, self._size)
        self._local = threading.local()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._caller()
        patient = error is None or isinstance(error, Exception)  # else it is Ctrl-C
        try:
            self._confirms.run(self._confirms.is_done, self._timeout if patient else 0, lambda _: True)
        finally:
            self._confirms.release()
        failed = self._failed(lambda _: True)
        if failed and error is None:
            raise failed
        if failed and error is not None:
            error.add_note(str(failed))

    def send_many(
        self, task: Any, arguments: Iterable[Sequence[Any]], **options: Any
    ) -> list[AsyncResult[Any]]:
        """Publish `task` (a task, a signature, or a name) once for each tuple of positional arguments.

        `options` are those of `apply_async`. Returns the results in order. Raises as `apply_async` does.
        Chains and chords take the window in this way only: `send_many(chain, [()])`. Celery drops their
        `producer`, and their tasks are then published with a confirm each.
        """
        options["producer"] = self
        send = partial(self._app.send_task, task) if isinstance(task, str) else task.apply_async
        token = CURRENT.set(self)
        try:
            return [send(args, **options) for args in arguments]
        finally:
            CURRENT.reset(token)

    def flush(self, timeout: float | None = None) -> None:
        """Wait for all confirms of what this thread published.

        `timeout`: seconds; None: those of the window.

        Raises Unconfirmed for those that did not come, PreconditionFailed where a queue or an exchange exists
        with other properties.
        """
        caller = self._caller()
        seconds = self._timeout if timeout is None else timeout
        self._confirms.run(lambda: not caller.open, seconds, lambda prepared: prepared.caller is caller)
        self._raise_failed(caller)

    # What Celery and kombu ask of a producer.

    def publish(self, body: Any, *, declare: Iterable[Any] | None = None, **options: Any) -> None:
        """Send a message as kombu.Producer.publish does, without waiting for its confirm while there is room.

        Raises as `flush` does, Unconfirmed when the window stays full for its `timeout`. The options `retry`
        and `retry_policy` mean nothing here.
        """
        options.pop("retry", None)
        options.pop("retry_policy", None)
        caller = self._caller()
        self._confirms.put(_prepare(caller, body, declare or (), options))
        self._confirms.run(self._confirms.is_sent, self._timeout)
        self._raise_failed(caller)

    @property
    def connection(self) -> Connection:
        """A connection of the application, for the errors that it knows; it is not opened."""
        if self._unopened is None:
            self._unopened = self._app.connection_for_write()
        return self._unopened

    @property
    def channel(self) -> Any:
        """The window's channel, for a result backend that declares a queue. Raises OperationalError."""
        self._caller()
        confirms = self._confirms
        confirms.run(lambda: confirms.link is not None, self._timeout)
        if confirms.link is None:
            raise OperationalError(f"no connection to the broker: {confirms.reason!r}")
        return confirms.link.channel

    def is_for(self, app: Celery) -> bool:
        """Return whether it publishes tasks of `app`."""
        return self._app is app

    def _caller(self) -> Caller:
        """Return what stands for this thread; the messages and the connection of a forked parent stay its."""
        if self._pid != os.getpid():
            self._begin()
        caller: Caller | None = getattr(self._local, "caller", None)
        if caller is None:
            caller = self._local.caller = Caller()
        return caller

    def _raise_failed(self, caller: Caller) -> None:
        failed = self._failed(lambda prepared: prepared.caller is caller)
        if failed:
            raise failed

    def _failed(self, mine: Callable[[Prepared], bool]) -> Exception | None:
        found = self._confirms.take_failed(mine)
        if not found:
            return None
        unconfirmed = Unconfirmed((prepared.task_id for prepared in found), self._confirms.reason)
        refused = next((prepared.error for prepared in found if prepared.error), None)
        if refused is None:
            return unconfirmed
        if isinstance(refused, PreconditionFailed):
            refused = conflict(refused)
        refused.add_note(f"Not published: {', '.join(unconfirmed.task_ids)}")
        return refused


# The window of the `send_many` that is under way.
CURRENT: ContextVar[ConfirmWindow | None] = ContextVar("CURRENT", default=None)


class _Recorder:
    """Stands in for a channel: returns the message that kombu's Producer made, instead of sending it."""

    prepare_message = Channel.prepare_message

    def basic_publish(self, message: Any, **options: Any) -> tuple[Any, dict[str, Any]]:
        return message, options


_producer: Any = Producer(cast(Any, _Recorder()), auto_declare=False)


def _prepare(caller: Caller, body: Any, declare: Iterable[Any], options: dict[str, Any]) -> Prepared:
    message, sent_with = _producer.publish(body, **options)
    task_id = (options.get("headers") or {}).get("id") or options.get("correlation_id") or "(no task)"
    return Prepared(message, sent_with, list(declare), task_id, caller)


def conflict(error: PreconditionFailed) -> PreconditionFailed:
    """Return the error with what to do about it, where something exists with other properties."""
    if "inequivalent arg" not in str(error.reply_text):
        return error
    return PreconditionFailed(
        f"A queue or an exchange exists with other properties ({error.reply_text}): let its tasks finish, "
        "delete it (rabbitmqctl delete_queue NAME; an exchange on the management page) and start again, "
        "or use another name.",
        error.method_sig,
    )
