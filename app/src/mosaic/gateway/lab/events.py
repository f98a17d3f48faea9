"""What the workers and beat of an application report about themselves: Celery's events, in its vhost.

Workers of every application send heartbeats. The role celery_worker switches the events of tasks on. Beat of
the role celery_beat sends its schedule as the event `beat-schedule`. Events are read as JSON only, and they
are data of the application: any field may be missing or wrong.
"""

from __future__ import annotations

import datetime
import json
import logging
import threading
import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pika

from mosaic.config import Broker
from mosaic.service import Service, consume_until

logger = logging.getLogger(__name__)

EXCHANGE = "celeryev"
PREFIX = "celeryev.console."
# As for log tails: a queue that a connection leaves behind expires; a slow console gets the latest events.
ARGUMENTS = {
    "x-queue-type": "classic",
    "x-expires": 30_000,
    "x-max-length": 2000,
    "x-overflow": "drop-head",
}
MAX_TASKS = 10_000
MAX_FAILURES = 200
MAX_WORKERS = 1000
MAX_ENTRIES = 500
TEXT = 300
TRACEBACK = 8000
OUTCOMES = {
    "task-succeeded": "done",
    "task-failed": "failed",
    "task-retried": "retried",
    "task-revoked": "cancelled",
}


@dataclass
class WorkerSeen:
    """A worker by its latest heartbeat: `at` on this process's monotonic clock."""

    at: float
    pid: int
    busy: int
    processed: int
    stopped: bool = False


@dataclass
class TaskSeen:
    """A task by its events."""

    name: str
    worker: str
    pid: int
    started: datetime.datetime
    seconds: float | None = None
    outcome: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Failure:
    """A task that failed: the exception, and its traceback (either may be empty)."""

    application: str
    id: str
    task: str
    host: str
    worker: str
    at: datetime.datetime
    error: str
    traceback: str = ""


@dataclass
class Report:
    """The latest schedule that beat reported; `at` on this process's monotonic clock."""

    at: float
    host: str
    entries: list[dict[str, Any]]


@dataclass
class Seen:
    """What has been seen of an application since this process started to read its events."""

    application: str
    since: datetime.datetime = field(default_factory=lambda: datetime.datetime.now(datetime.UTC))
    workers: dict[str, WorkerSeen] = field(default_factory=dict)
    tasks: OrderedDict[str, TaskSeen] = field(default_factory=OrderedDict)
    #: The latest task of each name.
    latest: dict[str, TaskSeen] = field(default_factory=dict)
    failures: deque[Failure] = field(default_factory=lambda: deque(maxlen=MAX_FAILURES))
    beat: Report | None = None

    def take(self, event: Mapping[str, Any]) -> None:
        """Store an event. Raises KeyError, TypeError, ValueError or OverflowError when it is malformed."""
        kind, hostname = str(event["type"]), str(event["hostname"])[:TEXT]
        if kind.startswith("worker-"):
            self._worker(kind, hostname, event)
        elif kind.startswith("task-"):
            self._task(kind, hostname, event)
        elif kind == "beat-schedule":
            entries = [entry for entry in event["entries"][:MAX_ENTRIES] if isinstance(entry, dict)]
            self.beat = Report(time.monotonic(), hostname.rpartition("@")[2], entries)

    def _worker(self, kind: str, hostname: str, event: Mapping[str, Any]) -> None:
        if hostname not in self.workers and len(self.workers) >= MAX_WORKERS:
            return
        self.workers[hostname] = WorkerSeen(
            at=time.monotonic(),
            pid=int(event.get("pid") or 0),
            busy=int(event.get("active") or 0),
            processed=int(event.get("processed") or 0),
            stopped=kind == "worker-offline",
        )

    def _task(self, kind: str, hostname: str, event: Mapping[str, Any]) -> None:
        at = datetime.datetime.fromtimestamp(float(event["timestamp"]), datetime.UTC)
        key = str(event["uuid"])[:TEXT]
        if kind == "task-sent":
            return
        task = self.tasks.get(key)
        if task is None:
            task = self.tasks[key] = TaskSeen(str(event.get("name") or "")[:TEXT], hostname, 0, at)
            if len(self.tasks) > MAX_TASKS:
                self.tasks.popitem(last=False)
        if kind == "task-started":
            task.worker, task.pid, task.started = hostname, int(event.get("pid") or 0), at
            task.seconds = task.outcome = task.error = None
            if task.name in self.latest or len(self.latest) < MAX_TASKS:
                self.latest[task.name] = task
        elif kind in OUTCOMES:
            task.outcome, task.error = OUTCOMES[kind], str(event.get("exception") or "")[:TEXT] or None
            task.seconds = max(0.0, float(event.get("runtime") or (at - task.started).total_seconds()))
            if kind == "task-failed":
                self._failed(key, task, hostname, at, str(event.get("traceback") or ""))

    def _failed(self, key: str, task: TaskSeen, hostname: str, at: datetime.datetime, traceback: str) -> None:
        worker, _, host = hostname.rpartition("@")
        text = traceback if len(traceback) <= TRACEBACK else f"…{traceback[-TRACEBACK:]}"
        self.failures.append(
            Failure(self.application, key, task.name or "unknown", host, worker, at, task.error or "", text)
        )


class EventReader(Service):
    """Reads the events of one application in a thread of its own, until it is stopped."""

    name = "console-events"
    max_pause_seconds = 2.0

    def __init__(self, broker: Broker, host: str, application: str) -> None:
        """Prepare to read from the application's vhost. Does not connect yet."""
        super().__init__(broker, host)
        self.seen = Seen(application)
        self.lock = threading.Lock()
        #: When reading began, on this process's monotonic clock; None while no events arrive.
        self.reading_since: float | None = None

    @property
    def reading_seconds(self) -> float | None:
        """For how long events have arrived; None while they do not."""
        since = self.reading_since
        return None if since is None else time.monotonic() - since

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self.run, name=f"events-{self.seen.application}", daemon=True).start()

    def work(self, connection: pika.BlockingConnection) -> None:
        """Consume until stopped, then delete the queue."""
        channel = connection.channel()
        # A new name for each connection: the old queue may be on a broker that is unavailable.
        queue = f"{PREFIX}{uuid.uuid4().hex[:12]}"
        # The exchange as Celery declares it: the console may be earlier than the first worker.
        channel.exchange_declare(EXCHANGE, "topic", durable=True)
        channel.queue_declare(queue, durable=True, arguments=ARGUMENTS)
        channel.queue_bind(queue, EXCHANGE, "#")
        consumer = channel.basic_consume(queue, self._on_message, auto_ack=True)
        self.reading_since = time.monotonic()
        try:
            consume_until(self._stop, connection, channel, consumer)
            channel.queue_delete(queue)
        finally:
            self.reading_since = None

    def _on_message(self, _channel: Any, _method: Any, properties: pika.BasicProperties, body: bytes) -> None:
        if properties.content_type != "application/json":
            return
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            return
        # A worker sends several events of tasks in one message.
        with self.lock:
            for event in document if isinstance(document, list) else [document]:
                try:
                    self.seen.take(event)
                except (KeyError, TypeError, ValueError, OverflowError, OSError, AttributeError) as error:
                    logger.debug("ignored a malformed event of %s: %r", self.seen.application, error)
