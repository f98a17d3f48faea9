"""Events are sent beside the work: no failure of theirs delays a worker."""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import Any, Self

import pytest
from celery import Celery
from celery.app.events import Events
from celery_durable.events import BackgroundEvents, EventSender
from kombu import Exchange

from celery_durable import events, make_durable

SOON = 5.0
EXCHANGE = Exchange("celeryev", type="topic")


def application(port: int = 1) -> Celery:
    """An application whose broker is on a port of loopback."""
    return make_durable(Celery("shop", broker=f"amqp://u:p@127.0.0.1:{port}//", set_as_current=False))


class Publishing:
    """Stands in for kombu.Producer: remembers, waits, or fails."""

    def __init__(self) -> None:
        self.published: list[Any] = []
        self.options: dict[str, Any] = {}
        self.go_on = threading.Event()
        self.go_on.set()
        self.failures = 0

    def __call__(self, connection: Any, **_: Any) -> Publishing:
        self.connection = connection
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def publish(self, event: Any, **options: Any) -> None:
        """Take one."""
        self.go_on.wait(SOON)
        if self.failures:
            self.failures -= 1
            raise OSError("closed")
        self.published.append(event)
        self.options = options


@pytest.fixture
def publishing(monkeypatch: pytest.MonkeyPatch) -> Publishing:
    """What the sender publishes."""
    found = Publishing()
    monkeypatch.setattr(events, "Producer", found)
    monkeypatch.setattr(events, "PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(events, "BATCH_SECONDS", 0.05)
    return found


def until(check: Any) -> None:
    """Wait for it."""
    deadline = time.monotonic() + SOON
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_dispatcher_hands_events_to_the_sender(publishing: Publishing) -> None:
    app = application()
    with app.connection_for_write() as connection:
        dispatcher = app.events.Dispatcher(connection, hostname="render@worker-1", buffer_group=["task"])
        dispatcher.send("worker-heartbeat", freq=2)
        dispatcher.send("task-started", uuid="a")
        dispatcher.send("task-succeeded", uuid="a")
        dispatcher.flush()
        assert app.events.sender.flush(SOON)
        assert not connection.connected
    (beat,), tasks = publishing.published
    assert (beat["type"], beat["hostname"]) == ("worker-heartbeat", "render@worker-1")
    assert [event["type"] for event in tasks] == ["task-started", "task-succeeded"]
    assert publishing.options["routing_key"] == "task.multi"
    assert publishing.options["exchange"] == "celeryev"
    assert publishing.options["delivery_mode"] == 1


def test_events_ask_for_no_confirms_and_tasks_do(publishing: Publishing) -> None:
    app = application()
    app.events.sender.put("a", {}, EXCHANGE, {})
    assert app.events.sender.flush(SOON)
    assert publishing.connection.transport_options["confirm_publish"] is False
    with app.connection_for_write() as connection:
        assert connection.transport_options["confirm_publish"] is True


def test_a_dispatcher_that_is_closed_sends_nothing(publishing: Publishing) -> None:
    app = application()
    with app.connection_for_write() as connection:
        dispatcher = app.events.Dispatcher(connection)
        dispatcher.disable()
        dispatcher.send("worker-heartbeat")
    assert app.events.sender.flush(SOON)
    assert publishing.published == []


def test_nobody_waits_for_a_broker_that_accepts_and_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        app = application(frozen.getsockname()[1])
        with app.connection_for_write() as connection:
            dispatcher = app.events.Dispatcher(connection)
            begun = time.monotonic()
            for _ in range(100):
                dispatcher.send("worker-heartbeat")
            assert time.monotonic() - begun < 1.0
        assert not app.events.sender.flush(0.1)


def test_events_of_a_moment_share_a_message(publishing: Publishing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "BATCH_SECONDS", SOON)
    sender = EventSender(application())
    for number in range(5):
        sender.put("task.multi", [number, -number], EXCHANGE, {})
        sender.put("worker.heartbeat", {"beat": number}, EXCHANGE, {})
    assert sender.flush(SOON)
    assert sorted(map(len, publishing.published)) == [5, 10]


def test_what_could_not_be_sent_in_time_is_dropped(
    publishing: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "STALE_SECONDS", 0.2)
    sender = EventSender(application())
    publishing.go_on.clear()
    sender.put("a", "first", EXCHANGE, {})
    until(lambda: not sender._waiting)
    sender.put("a", "stale", EXCHANGE, {})
    time.sleep(0.4)
    sender.put("a", "new", EXCHANGE, {})
    publishing.go_on.set()
    assert sender.flush(SOON)
    assert publishing.published == [["first"], ["new"]]


def test_the_oldest_go_when_too_many_wait(publishing: Publishing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "WAITING", 3)
    sender = EventSender(application())
    publishing.go_on.clear()
    sender.put("a", "first", EXCHANGE, {})
    until(lambda: not sender._waiting)
    for number in range(10):
        sender.put("a", number, EXCHANGE, {})
    publishing.go_on.set()
    assert sender.flush(SOON)
    assert publishing.published == [["first"], [7, 8, 9]]


def test_sending_goes_on_after_a_lost_connection(publishing: Publishing) -> None:
    publishing.failures = 2
    sender = EventSender(application())

    def sent() -> bool:
        sender.put("a", "again", EXCHANGE, {})
        time.sleep(0.02)
        return bool(publishing.published)

    until(sent)


def test_a_forked_process_has_a_sender_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    app = application()
    before = app.events.sender
    assert app.events.sender is before
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert app.events.sender is not before


def test_threads_share_one_sender(publishing: Publishing, monkeypatch: pytest.MonkeyPatch) -> None:
    sender = EventSender(application())
    started: list[str] = []
    start = threading.Thread.start

    def start_slowly(thread: threading.Thread) -> None:
        if thread.name == "events":
            started.append(thread.name)
            time.sleep(0.1)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_slowly)
    threads = [
        threading.Thread(target=sender.put, args=("task.sent", "event", EXCHANGE, {})) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sender.flush(SOON)
    assert sum(map(len, publishing.published)) == 5
    assert started == ["events"]


def test_an_application_keeps_its_own_events() -> None:
    class Mine(Events):
        pass

    app = make_durable(Celery("shop", events=Mine, set_as_current=False))
    assert type(app.events) is Mine
    assert type(application().events) is BackgroundEvents
