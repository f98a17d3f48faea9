"""Publishing many tasks with publisher confirms, without waiting for each confirm.

Celery's `confirm_publish` waits for each confirm. A window is as fast as publishing without confirms. A
message counts as published when the broker has confirmed it. After a lost connection or a nack the
unconfirmed messages are sent again, so a task may be published twice, but it is never lost.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from functools import partial
from itertools import islice, repeat
from types import TracebackType
from typing import Any, Self

from amqp.exceptions import PreconditionFailed
from celery import Celery
from celery.result import AsyncResult
from celery.utils import uuid
from kombu import Connection
from kombu.exceptions import OperationalError

from celery_durable.confirms import Confirms
from celery_durable.link import Caller, Prepared
from celery_durable.message import Published, Template, are_alike, template_of

BATCH = 32  # messages of send_many that are sent in one write


class Unconfirmed(Exception):  # noqa: N818 - the state of the tasks
    """The broker did not confirm these tasks in time, so it is unknown whether they were published.

    Publish them again with the same ids, or report the failure to the user. Prevents that a caller takes a
    lost task for an accepted one. The drill `freeze-broker-leader` shows it.
    """

    def __init__(self, task_ids: Iterable[str], reason: Exception | None = None) -> None:
        """`task_ids`: the unconfirmed tasks, in the order in which they were given up.

        `reason`: the latest error.
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

    Pass it as `producer` to `apply_async` and `send_task` of tasks and groups. The end of the block waits for
    all confirms and raises Unconfirmed if some are missing. An exception inside the block is raised again.
    Threads may share a window: each gets the errors of its own tasks, and the thread that leaves the block
    those of all others.

    Prevents that an accepted task is lost with its broker (no confirms), that a producer hangs on a frozen
    broker, and a fifteenth of the speed (Celery's confirms). The drill `freeze-broker-leader` shows it.
    """

    serializer = None  # Celery reads it with task_always_eager

    def __init__(self, app: Celery, *, timeout: float = 40.0, size: int = 200) -> None:
        """Publish tasks of `app`, with at most `size` messages unconfirmed. Connects on first use.

        `timeout`: seconds until each message must be confirmed, however often it is sent.
        """
        self.app = app
        self._timeout = timeout
        self._size = size
        self._unopened: Connection | None = None
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._confirms = Confirms(self.app, self._timeout, self._size)
        self._local = threading.local()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._caller()
        patient = error is None or isinstance(error, Exception)  # otherwise it is Ctrl-C
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
        self,
        task: Any,
        arguments: Iterable[Sequence[Any]],
        *,
        task_ids: Iterable[str | None] | None = None,
        **options: Any,
    ) -> list[AsyncResult[Any]]:
        """Publish `task` (a task, a signature, or a name) once for each tuple of positional arguments.

        `options` are those of `apply_async`. `task_ids` has an id for each tuple; None: Celery makes it.
        Returns the results in order. Raises as `apply_async` does. For chains and chords this is the only way
        to use the window: `send_many(chain, [()])`. Celery ignores their `producer`, and then publishes their
        tasks with one confirm each.

        Messages that differ only in ids and arguments are sent in batches of 32, and cost a tenth of the
        CPU time. Not with options that depend on the time (`countdown`, `eta`, `expires`), `link`,
        `compression`, receivers of Celery's signals, events for sent tasks, or routers that are functions.
        """
        send: Any = partial(self.app.send_task, task) if isinstance(task, str) else task.apply_async
        alike = are_alike(self.app, task, options)
        options["producer"] = self
        ids = repeat(None) if task_ids is None else task_ids
        rest = zip(arguments, ids, strict=task_ids is not None)
        published: list[Published] = []
        results: list[AsyncResult[Any]] = []
        token = CURRENT.set(self)
        try:
            for args, task_id in islice(rest, 2):
                results.append(send(args, **options, **_named(task_id)))
                if alike:
                    published.append(self._local.latest)
            template = template_of(self.app, published)
            if template is None:
                results += (send(args, **options, **_named(task_id)) for args, task_id in rest)
            else:
                results += self._send_alike(task, template, rest)
            return results
        finally:
            CURRENT.reset(token)

    def _send_alike(
        self, task: Any, template: Template, rest: Iterable[tuple[Any, str | None]]
    ) -> Iterator[AsyncResult[Any]]:
        """Publish as Celery's apply_async and send_task do, in batches."""
        caller = self._caller()
        backend, parent = self.app.backend, self.app.current_worker_task
        named = isinstance(task, str)
        check = None if named or not task.typing else getattr(task, "__header__", None)
        new_result = self.app.AsyncResult if named else task.AsyncResult
        for args, wanted_id in rest:
            if check is not None:
                check(*(args or ()), **template.kwargs)
            task_id = wanted_id or uuid()
            encoded = template.encode(task_id, args)
            if not template.ignore_result:
                backend.on_task_call(self, task_id)
            self._confirms.put(Prepared(encoded, template.declare, task_id, caller))
            if self._confirms.waiting >= BATCH:
                self._send_waiting(caller)
            result = new_result(task_id)
            result.ignored = template.ignore_result
            if parent is not None:
                parent.add_trail(result)
            yield result
        self._send_waiting(caller)

    def flush(self, timeout: float | None = None) -> None:
        """Wait for the confirms of all messages of this thread.

        `timeout`: seconds; None: the window's timeout. Raises Unconfirmed if confirms are missing,
        PreconditionFailed if a queue or an exchange exists with other properties.
        """
        caller = self._caller()
        seconds = self._timeout if timeout is None else timeout
        self._confirms.run(lambda: not caller.open, seconds, lambda prepared: prepared.caller is caller)
        self._raise_failed(caller)

    # The interface of a producer for Celery and kombu.

    def publish(self, body: Any, *, declare: Iterable[Any] | None = None, **options: Any) -> None:
        """Send a message as kombu.Producer.publish does. Waits for confirms only if the window is full.

        Raises as `flush` does; Unconfirmed if the window stays full for its `timeout`. The options `retry`,
        `retry_policy` and `timeout` have no effect.
        """
        options.pop("retry", None)
        options.pop("retry_policy", None)
        caller = self._caller()
        message = Published(body, list(declare or ()), options)
        self._local.latest = message
        self._confirms.put(Prepared(message.encoded, message.declare, message.task_id, caller))
        self._send_waiting(caller)

    def _send_waiting(self, caller: Caller) -> None:
        self._confirms.run(self._confirms.is_sent, self._timeout)
        self._raise_failed(caller)

    @property
    def connection(self) -> Connection:
        """A connection of the application, for its list of errors; it is never opened."""
        if self._unopened is None:
            self._unopened = self.app.connection_for_write()
        return self._unopened

    @property
    def channel(self) -> Any:
        """The window's channel, for result backends that declare a queue. Raises OperationalError."""
        self._caller()
        confirms = self._confirms
        confirms.run(lambda: confirms.link is not None, self._timeout)
        if confirms.link is None:
            raise OperationalError(f"no connection to the broker: {confirms.reason!r}")
        return confirms.link.channel

    def _caller(self) -> Caller:
        """Return the Caller of this thread. After a fork the window starts without the parent's messages."""
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


# The window of the running `send_many`.
CURRENT: ContextVar[ConfirmWindow | None] = ContextVar("CURRENT", default=None)


def _named(task_id: str | None) -> dict[str, str]:
    return {"task_id": task_id} if task_id else {}


def conflict(error: PreconditionFailed) -> PreconditionFailed:
    """Return the error with its remedy, if a queue or exchange exists with other properties."""
    if "inequivalent arg" not in str(error.reply_text):
        return error
    return PreconditionFailed(
        f"A queue or an exchange exists with other properties ({error.reply_text}): let its tasks finish, "
        "delete it (rabbitmqctl delete_queue NAME; an exchange on the management page) and start again, "
        "or use another name.",
        error.method_sig,
    )
