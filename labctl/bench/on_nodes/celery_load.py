"""Publishes messages, or runs a worker, on a host of the lab.

The first line of standard input is a JSON object: `part` (publisher or worker), `profile` (plain or durable),
`host`, `concurrency`, and `password`, that of the broker's user `bench`. Each further line is a command:

publisher
    first prints {"ready": true}, when all queues are declared
    {"publish": "raw" | "confirm_publish" | "send_many", "seconds": 5, "bytes": 100}
        -> {"count": 1234, "seconds": 5.01}; afterwards the queue is empty again
    {"fill": "plain" | "durable", "task": ["io", 0.01], "count": 100, "bytes": 0} -> {"count": 100}
worker
    {"consume": true | false} -> {"consuming": true | false}
        and, while tasks end, {"done": 12, "first": START, "last": END} since it began to consume;
        START and END are in seconds since 1970

The end of standard input ends the program.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import amqp
from celery import Celery, signals
from kombu import Exchange, Queue

from celery_durable import ConfirmWindow, declare_queues, make_durable, quorum_queue

USER = "bench"  # and its vhost
WINDOW = 200  # unconfirmed messages, also ConfirmWindow's default
TASK = "bench.task"
PUBLISHED, PLAIN, DURABLE = "published", "plain", "durable"
END = struct.Struct("dd")  # start and end of a task
REPORT_S = 0.1  # without the end of a task
LONGEST_S = 1.0  # between two reports while tasks end
QUEUES = {
    # Celery's default. Without the type, the default of the broker would make it a quorum queue.
    PLAIN: Queue(PLAIN, Exchange(PLAIN), PLAIN, queue_arguments={"x-queue-type": "classic"}),
    **{name: quorum_queue(name, Exchange(name, type="topic"), name) for name in (DURABLE, PUBLISHED)},
}


def application(password: str, profile: str, *queues: str, **settings: Any) -> Celery:
    """A Celery application with its default settings (plain), or after make_durable."""
    app = Celery(USER, broker=f"amqp://{USER}:{password}@127.0.0.1:5672/{USER}")
    app.conf.update(task_queues=[QUEUES[name] for name in queues], task_default_queue=queues[0], **settings)
    return make_durable(app) if profile == DURABLE else app


def answer(**fields: Any) -> None:
    """Print one line of JSON."""
    print(json.dumps(fields), flush=True)


class Publisher:
    """Publishes for some seconds, or fills a queue."""

    def __init__(self, password: str) -> None:
        """Connect on first use."""
        self._password = password
        self._durable = application(password, DURABLE, DURABLE, PUBLISHED, PLAIN)
        self._one_by_one = application(
            password, PLAIN, PUBLISHED, broker_transport_options={"confirm_publish": True}
        )

    def serve(self, commands: Iterator[dict[str, Any]]) -> None:
        """Execute the commands."""
        # Before the workers of several hosts declare the queues of delayed delivery at the same time.
        declare_queues(self._durable, [QUEUES[DURABLE], QUEUES[PUBLISHED]], [QUEUES[PLAIN]])
        answer(ready=True)
        for command in commands:
            if "fill" in command:
                self._fill(command["fill"], command["task"], command["count"], command["bytes"])
                answer(count=command["count"])
            else:
                count, seconds = self._publish(command["publish"], command["seconds"], command["bytes"])
                answer(count=count, seconds=seconds)

    def _fill(self, queue: str, task: list[Any], count: int, size: int) -> None:
        with ConfirmWindow(self._durable) as window:
            window.send_many(TASK, ([*task, "x" * size] for _ in range(count)), queue=queue)

    def _publish(self, how: str, seconds: float, size: int) -> tuple[int, float]:
        arguments = ["none", 0, "x" * size]
        with self._durable.connection_for_write() as connection:
            publish = {
                "raw": self._publish_raw,
                "confirm_publish": self._publish_one_by_one,
                "send_many": self._publish_many,
            }[how]
            publish(arguments, 0.0)  # connects
            started = time.monotonic()
            count = publish(arguments, seconds)
            ended = time.monotonic()
            QUEUES[PUBLISHED](connection.default_channel).purge()
        return count, ended - started

    def _publish_many(self, arguments: list[Any], seconds: float) -> int:
        count = 0

        def calls() -> Iterator[list[Any]]:
            nonlocal count
            deadline = time.monotonic() + seconds
            while not count or time.monotonic() < deadline:
                count += 1
                yield arguments

        with ConfirmWindow(self._durable, size=WINDOW) as window:
            window.send_many(TASK, calls(), queue=PUBLISHED)
        return count

    def _publish_one_by_one(self, arguments: list[Any], seconds: float) -> int:
        count, deadline = 0, time.monotonic() + seconds
        while not count or time.monotonic() < deadline:
            self._one_by_one.send_task(TASK, args=arguments)
            count += 1
        return count

    def _publish_raw(self, arguments: list[Any], seconds: float) -> int:
        """The same message each time, as Celery makes it: what py-amqp and the broker can do."""
        headers, properties, body, _ = self._durable.amqp.as_task_v2("bench", TASK, tuple(arguments))
        message = amqp.Message(
            json.dumps(body),
            application_headers=headers,
            content_type="application/json",
            content_encoding="utf-8",
            delivery_mode=2,
            **properties,
        )
        with amqp.Connection(
            "127.0.0.1:5672", USER, self._password, virtual_host=USER, connect_timeout=10
        ) as connection:
            window = _Window(connection)
            deadline = time.monotonic() + seconds
            while not window.sent or time.monotonic() < deadline:
                window.publish(message)
            window.wait(0)
        return window.sent


class _Window:
    """At most WINDOW unconfirmed messages on a channel of py-amqp."""

    def __init__(self, connection: amqp.Connection) -> None:
        self.sent = 0
        self._connection = connection
        self._open: dict[int, None] = {}
        self._channel = cast("Any", connection.channel())  # the stubs lack its events
        self._channel.confirm_select()
        self._channel.events["basic_ack"].add(self._confirmed)
        self._channel.events["basic_nack"].add(self._refused)

    def publish(self, message: amqp.Message) -> None:
        self.sent += 1
        self._open[self.sent] = None
        self._channel.basic_publish(message, PUBLISHED, PUBLISHED)
        self.wait(WINDOW - 1)

    def wait(self, most: int) -> None:
        """Wait until at most so many are unconfirmed."""
        while len(self._open) > most:
            self._connection.drain_events(timeout=30)

    def _confirmed(self, tag: int, multiple: bool) -> None:
        if not multiple:
            self._open.pop(tag, None)
        while multiple and self._open and next(iter(self._open)) <= tag:
            del self._open[next(iter(self._open))]

    def _refused(self, *_: Any) -> None:
        sys.exit("The broker refused a message.")


def task(kind: str, seconds: float, _padding: str = "") -> None:
    """Do nothing, wait (io), or compute (cpu) for some seconds of CPU time."""
    started = time.time()
    if kind == "io":
        time.sleep(seconds)
    elif kind == "cpu":
        deadline = time.thread_time() + seconds
        while time.thread_time() < deadline:
            pass
    os.write(Worker.ended[1], END.pack(started, time.time()))


class Worker:
    """A Celery worker that consumes on command. Its pool processes report each task through a pipe."""

    ended = os.pipe()

    def __init__(self, password: str, profile: str, host: str, concurrency: int) -> None:
        """Connect on `serve`."""
        self._queue = profile
        self._app = application(password, profile, profile, worker_redirect_stdouts=False)
        self._app.task(name=TASK)(task)
        self._options = [f"--hostname={profile}@{host}", f"--concurrency={concurrency}"]
        self._commands: list[bool] = []
        self._wake = socket.socketpair()
        self._lock = threading.Lock()
        self._done, self._told, self._first, self._last = 0, 0, 0.0, 0.0
        self._reported = 0.0

    def serve(self, commands: Iterator[dict[str, Any]]) -> None:
        """Run the worker, and execute the commands in its event loop."""
        signals.worker_ready.connect(self._ready, weak=False)
        threading.Thread(target=self._count, daemon=True).start()
        threading.Thread(target=self._listen, args=(commands,), daemon=True).start()
        self._app.worker_main(["--quiet", "worker", "--loglevel=CRITICAL", *self._options])

    def _ready(self, sender: Any, **_: Any) -> None:
        def execute(*_: Any) -> None:
            self._wake[0].recv(1)
            self._consume(sender, self._commands.pop(0))

        sender.hub.add_reader(self._wake[0], execute)
        self._consume(sender, False)

    def _consume(self, consumer: Any, wanted: bool) -> None:
        if wanted:
            with self._lock:
                self._done, self._told, self._first, self._last = 0, 0, float("inf"), 0.0
            consumer.add_task_queue(self._queue)
        else:
            consumer.cancel_task_queue(self._queue)
        answer(consuming=wanted)

    def _listen(self, commands: Iterator[dict[str, Any]]) -> None:
        for command in commands:
            self._commands.append(command["consume"])
            self._wake[1].send(b"!")
        os._exit(0)

    def _count(self) -> None:
        while True:
            if select.select([self.ended[0]], [], [], REPORT_S)[0]:
                with self._lock:
                    for started, ended in END.iter_unpack(os.read(self.ended[0], END.size * 1024)):
                        self._done += 1
                        self._first, self._last = min(self._first, started), max(self._last, ended)
                if time.time() < self._reported + LONGEST_S:
                    continue
            if self._done != self._told:
                self._told, self._reported = self._done, time.time()
                answer(done=self._done, first=self._first, last=self._last)


def main() -> None:
    """Read the settings, and play the part."""
    # Without a buffer: a pool process must not inherit the lock of a buffer that a thread reads.
    stdin = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115 - open to the end
    own = json.loads(stdin.readline())
    parts: dict[str, Callable[[], Publisher | Worker]] = {
        "publisher": lambda: Publisher(own["password"]),
        "worker": lambda: Worker(own["password"], own["profile"], own["host"], own["concurrency"]),
    }
    parts[own["part"]]().serve(json.loads(line) for line in stdin)


if __name__ == "__main__":
    main()
