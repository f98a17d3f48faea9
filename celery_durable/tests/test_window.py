"""ConfirmWindow with a scripted broker: each task is confirmed or reported."""

from __future__ import annotations

import os
import signal
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from amqp.exceptions import FrameSyntaxError, PreconditionFailed, RecoverableConnectionError
from celery import Celery, chain, chord, group, signals
from kombu.exceptions import EncodeError, OperationalError
from scripted import Broker, Connection, confirm, say_nothing, until

from celery_durable import ConfirmWindow, Unconfirmed, confirms

IDS = [f"task-{number}" for number in range(6)]
LOST = RecoverableConnectionError("connection lost")


def publish(app: Celery, window: ConfirmWindow, ids: list[str] = IDS, **options: Any) -> None:
    """Publish a task under each of these ids."""
    for task_id in ids:
        app.send_task("add", (1, 2), task_id=task_id, producer=window, **options)


def publish_and_raise(app: Celery, error: BaseException, timeout: float) -> None:
    """Leave a block by an exception."""
    with ConfirmWindow(app, timeout=timeout) as window:
        publish(app, window)
        raise error


@pytest.fixture
def signalled() -> Any:
    """Ids of the tasks for which Celery's signal ran."""
    found: list[str] = []

    def note(headers: dict[str, Any], **_: Any) -> None:
        found.append(headers["id"])

    signals.before_task_publish.connect(note)
    yield found
    signals.before_task_publish.disconnect(note)


def test_every_task_is_sent_once(app: Celery, broker: Broker) -> None:
    with ConfirmWindow(app) as window:
        publish(app, window)
        results = window.send_many("add", [(1, 1), (2, 2)])
    assert broker.ids == [*IDS, *(result.id for result in results)]
    assert len(broker.connections) == 1


def test_one_confirm_may_stand_for_many(app: Celery, broker: Broker) -> None:
    def answer(connection: Connection, tag: int, task_id: str) -> None:
        if tag == len(IDS):
            connection.ack(tag, multiple=True)

    broker.answer = answer
    with ConfirmWindow(app, timeout=5) as window:
        publish(app, window)
    assert broker.ids == IDS


def test_a_confirm_of_some_is_none_of_the_rest(app: Celery, broker: Broker) -> None:
    def answer(connection: Connection, tag: int, task_id: str) -> None:
        if tag == 4:
            connection.ack(tag, multiple=True)

    broker.answer = answer
    with pytest.raises(Unconfirmed) as caught, ConfirmWindow(app, timeout=0.08) as window:
        publish(app, window)
    assert caught.value.task_ids == IDS[4:]


def test_only_what_was_refused_is_sent_again(app: Celery, broker: Broker, signalled: list[str]) -> None:
    def answer(connection: Connection, tag: int, task_id: str) -> None:
        if task_id == IDS[2] and broker.ids.count(task_id) == 1:
            connection.nack(tag)
        else:
            connection.ack(tag)

    broker.answer = answer
    with ConfirmWindow(app, timeout=5) as window:
        publish(app, window)
    assert sorted(broker.ids) == sorted([*IDS, IDS[2]])
    assert len(broker.connections) == 1
    assert signalled == IDS
    (first, options), (second, again) = broker.messages[IDS[2]]
    assert (first.properties, first.body) == (second.properties, second.body)
    assert options == again


def test_what_is_refused_time_and_again_waits_in_between(app: Celery, broker: Broker) -> None:
    broker.answer = lambda connection, tag, _: connection.nack(tag)
    with pytest.raises(Unconfirmed, match="refused by the broker"), ConfirmWindow(app, timeout=0.3) as window:
        publish(app, window, IDS[:1])
    assert 2 <= len(broker.ids) <= 0.3 / confirms.PAUSE_SECONDS + 1


def test_a_refusal_of_many(app: Celery, broker: Broker) -> None:
    def answer(connection: Connection, tag: int, task_id: str) -> None:
        if tag == 3:
            connection.nack(tag, multiple=True)
        elif tag > 3:
            connection.ack(tag)

    broker.answer = answer
    with ConfirmWindow(app, timeout=5) as window:
        publish(app, window)
    assert sorted(broker.ids) == sorted([*IDS, *IDS[:3]])
    assert [task_id for task_id in broker.ids[3:] if task_id in IDS[:3]] == IDS[:3]


def test_after_a_lost_connection_the_unconfirmed_are_sent_again_in_order(
    app: Celery, broker: Broker, signalled: list[str]
) -> None:
    def answer(connection: Connection, tag: int, task_id: str) -> None:
        if connection.number > 0 or tag in (1, 3):
            connection.ack(tag)
        if connection.number == 0 and tag == len(IDS):
            connection.fail(LOST)

    broker.answer = answer
    with ConfirmWindow(app, timeout=5) as window:
        publish(app, window)
    ids = [[task_id for number, task_id in broker.received if number == n] for n in (0, 1)]
    assert ids[0] == IDS
    assert ids[1] == [IDS[1], IDS[3], IDS[4], IDS[5]]
    assert signalled == IDS
    for (first, _), *again in broker.messages.values():
        assert all((m.properties, m.body) == (first.properties, first.body) for m, _ in again)
    assert broker.connections[0].closed == "dropped"


def test_a_connection_may_be_lost_in_the_middle_of_a_message(app: Celery, broker: Broker) -> None:
    def answer(connection: Connection, tag: int, task_id: str) -> None:
        if connection.number == 0 and tag == 4:
            raise BrokenPipeError
        connection.ack(tag)

    broker.answer = answer
    with ConfirmWindow(app, timeout=5) as window:
        publish(app, window)
    second = [task_id for number, task_id in broker.received if number == 1]
    assert second[0] == IDS[0] or second == IDS[second.index(IDS[3]) - len(second) :]
    assert broker.taken == set(IDS)


def test_silence_ends_at_the_deadline_with_the_ids(app: Celery, broker: Broker) -> None:
    broker.answer = say_nothing
    begun = time.monotonic()
    with pytest.raises(Unconfirmed, match="6 tasks") as caught, ConfirmWindow(app, timeout=0.75) as window:
        publish(app, window)
    assert 0.7 < time.monotonic() - begun < 5
    assert caught.value.task_ids == IDS
    # Patience of 0.1, 0.2, 0.4 s: a slow broker is not sent the same tasks time and again.
    assert 2 <= len(broker.connections) <= 4


def test_a_broker_that_is_slow_gets_more_time(app: Celery, broker: Broker) -> None:
    def answer(connection: Connection, tag: int, task_id: str) -> None:
        threading.Timer(0.3, lambda: connection.ack(tag)).start()

    broker.answer = answer
    with ConfirmWindow(app, timeout=5) as window:
        publish(app, window, IDS[:1])
        window.flush()
        assert window._confirms._patience == confirms.PATIENCE_SECONDS, "it answers again"
    assert broker.taken == {IDS[0]}
    assert len(broker.connections) <= 3


def test_a_message_that_takes_long_to_send_gets_more_time(app: Celery, broker: Broker) -> None:
    def answer(connection: Connection, tag: int, task_id: str) -> None:
        if connection.timeout < 0.5:
            raise RecoverableConnectionError("basic_publish: timed out") from TimeoutError()
        connection.ack(tag)

    broker.answer = answer
    with ConfirmWindow(app, timeout=5) as window:
        publish(app, window, IDS[:1])
    assert [round(connection.timeout, 1) for connection in broker.connections] == [0.3, 0.3, 0.4, 0.8]


def test_a_refused_connection_is_tried_again_until_the_deadline(app: Celery, broker: Broker) -> None:
    broker.refuse = ConnectionRefusedError("nobody listens")
    begun = time.monotonic()
    with ConfirmWindow(app, timeout=0.3) as window:
        with pytest.raises(Unconfirmed, match=r"task-0; the last error was .*nobody listens") as caught:
            publish(app, window, IDS[:1])
        assert caught.value.task_ids == IDS[:1]
        assert 0.25 < time.monotonic() - begun < 5
        broker.refuse = None
        publish(app, window, IDS[1:])
    assert broker.ids == IDS[1:], "what was given up is not sent later"


def test_a_broker_that_comes_back_in_time(app: Celery, broker: Broker) -> None:
    broker.refuse = ConnectionRefusedError()

    def come_back() -> None:
        broker.refuse = None

    threading.Timer(0.2, come_back).start()
    with ConfirmWindow(app, timeout=5) as window:
        publish(app, window)
    assert broker.ids == IDS


def test_no_more_than_the_size_is_on_its_way(app: Celery, broker: Broker) -> None:
    broker.answer = lambda connection, tag, _: threading.Timer(0.02, connection.ack, (tag,)).start()
    with ConfirmWindow(app, size=3) as window:
        publish(app, window, [f"many-{number}" for number in range(20)])
    assert broker.most_unconfirmed == 3
    assert len(broker.taken) == 20


def test_confirms_are_counted_while_there_is_room(app: Celery, broker: Broker) -> None:
    """py-amqp reads them when it sends; a long block must not keep all of its messages."""
    with ConfirmWindow(app, timeout=5) as window:
        publish(app, window)
        assert window._confirms.link is not None
        assert window._confirms.link.confirmed == []
        assert window._caller().open == 1


def test_nothing_is_done_as_long_as_something_is_refused(app: Celery, broker: Broker) -> None:
    """A refusal that other code read, e.g. a result backend that declares its queue."""
    broker.answer = lambda connection, tag, _: connection.nack(tag)
    with ConfirmWindow(app, timeout=5) as window:
        publish(app, window, IDS[:1])
        broker.answer = confirm
        broker.connections[0].drain_events(timeout=1)
    assert broker.taken == set(IDS[:1])


def test_a_full_window_that_stays_full(app: Celery, broker: Broker) -> None:
    begun = time.monotonic()
    sent: dict[str, float] = {}

    def answer(connection: Connection, tag: int, task_id: str) -> None:
        sent.setdefault(task_id, time.monotonic() - begun)

    broker.answer = answer
    with ConfirmWindow(app, timeout=0.3, size=2) as window:
        publish(app, window, IDS[:2])
        with pytest.raises(Unconfirmed) as caught:
            publish(app, window, IDS[2:3])
        given_up = caught.value.task_ids
        with suppress(Unconfirmed):
            window.flush()
    assert given_up == IDS[: len(given_up)]
    assert sent.get(IDS[2], 0.3) >= 0.3


def test_publishing_goes_on_after_a_deadline(app: Celery, broker: Broker) -> None:
    broker.answer = say_nothing
    with ConfirmWindow(app, timeout=5) as window:
        publish(app, window, IDS[:2])
        with pytest.raises(Unconfirmed) as caught:
            window.flush(timeout=0.1)
        assert caught.value.task_ids == IDS[:2]
        broker.answer = confirm
        begun = time.monotonic()
        publish(app, window, IDS[2:])
        window.flush()
        assert time.monotonic() - begun < 2
    assert broker.taken == set(IDS[2:])


def test_a_late_confirm_is_no_confirm_of_another_task(
    app: Celery, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.answer = say_nothing
    monkeypatch.setattr(confirms, "PATIENCE_SECONDS", 5)
    with ConfirmWindow(app, timeout=5) as window:
        thread = threading.Thread(target=publish, args=(app, window, ["other"]))
        thread.start()
        thread.join()  # its message keeps the connection
        for task_id in IDS[:2]:
            publish(app, window, [task_id])
            with pytest.raises(Unconfirmed) as caught:
                window.flush(timeout=0.02)
            assert caught.value.task_ids == [task_id]
            broker.connections[0].ack(broker.ids.index(task_id) + 1)
        broker.connections[0].ack(1)
    assert broker.ids == ["other", *IDS[:2]]


def test_an_exception_in_the_block_is_passed_on_after_the_confirms(app: Celery, broker: Broker) -> None:
    with pytest.raises(KeyError) as caught:
        publish_and_raise(app, KeyError("mine"), timeout=5)
    assert broker.taken == set(IDS)
    assert not hasattr(caught.value, "__notes__")


def test_an_exception_in_the_block_does_not_hide_what_is_unconfirmed(app: Celery, broker: Broker) -> None:
    broker.answer = say_nothing
    with pytest.raises(KeyError) as caught:
        publish_and_raise(app, KeyError("mine"), timeout=0.2)
    assert "task-0" in caught.value.__notes__[0]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interrupt_does_not_wait(app: Celery, broker: Broker, kind: type[BaseException]) -> None:
    broker.answer = say_nothing
    begun = time.monotonic()
    with pytest.raises(kind) as caught:
        publish_and_raise(app, kind(), timeout=30)
    assert time.monotonic() - begun < 5
    assert "task-0" in caught.value.__notes__[0]


def test_a_block_may_go_on_after_an_interrupt(app: Celery, broker: Broker) -> None:
    """A part of a message may be sent: the connection is unusable, and the message must be sent again."""

    def answer(connection: Connection, tag: int, task_id: str) -> None:
        if connection.number == 0:
            raise KeyboardInterrupt
        connection.ack(tag)

    broker.answer = answer
    with ConfirmWindow(app, timeout=5) as window:
        with pytest.raises(KeyboardInterrupt):
            publish(app, window, IDS[:1])
        publish(app, window, IDS[1:])
    assert broker.connections[0].closed == "dropped"
    assert broker.taken == set(IDS)


def in_the_way(queue: str) -> PreconditionFailed:
    """RabbitMQ 4.0's error for a classic queue."""
    words = f"PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue '{queue}' in vhost '/'"
    return PreconditionFailed(words, (50, 10))


def test_a_queue_in_the_way_is_an_error_with_its_remedy_for_its_tasks_alone(
    app: Celery, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def declare(self: Any, queue: str, **_: Any) -> Any:
        if queue == "old":
            raise in_the_way(queue)
        return queue, 0, 0

    monkeypatch.setattr("scripted.Channel.queue_declare", declare)
    broker.answer = say_nothing
    with ConfirmWindow(app, timeout=5) as window:
        publish(app, window, IDS[:2])
        broker.answer = confirm
        with pytest.raises(PreconditionFailed, match="rabbitmqctl delete_queue") as caught:
            publish(app, window, IDS[2:3], queue="old")
        assert caught.value.__notes__ == ["Not published: task-2"]
        publish(app, window, IDS[3:])
    assert broker.taken == {*IDS[:2], *IDS[3:]}


def test_a_message_that_is_too_large_is_an_error_at_once(app: Celery, broker: Broker) -> None:
    error = PreconditionFailed("PRECONDITION_FAILED - message size 17 is larger than max size 16", (60, 40))

    def answer(connection: Connection, tag: int, task_id: str) -> None:
        if task_id == IDS[1]:
            connection.fail(error)
        else:
            connection.ack(tag)

    broker.answer = answer
    with ConfirmWindow(app, timeout=5) as window:
        publish(app, window, IDS[:1])
        window.flush()
        publish(app, window, IDS[1:2])
        with pytest.raises(PreconditionFailed, match="larger than max size") as caught:
            window.flush()
        assert "delete_queue" not in str(caught.value)
        assert caught.value.__notes__ == ["Not published: task-1"]
        publish(app, window, IDS[2:])
    assert broker.ids == IDS


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"headers": {"unknown": object()}}, FrameSyntaxError),
        ({"priority": "high"}, struct.error),
        ({"args": (object(),)}, EncodeError),
    ],
)
def test_a_message_that_cannot_be_encoded_fails_alone(
    app: Celery, broker: Broker, options: dict[str, Any], error: type[Exception]
) -> None:
    with ConfirmWindow(app, timeout=5) as window:
        publish(app, window, IDS[:1])
        with pytest.raises(error):
            app.send_task("add", task_id=IDS[1], producer=window, **options)
        publish(app, window, IDS[2:])
    assert broker.ids == [IDS[0], *IDS[2:]]
    assert len(broker.connections) == 1


def test_options_of_a_task_reach_its_message(app: Celery, broker: Broker) -> None:
    with ConfirmWindow(app) as window:
        publish(
            app,
            window,
            IDS[:1],
            priority=6,
            headers={"trace": "abc"},
            compression="zlib",
            expires=60,
            retry=True,
            retry_policy={"max_retries": 1},
            link=app.signature("add", (1,)),
        )
    ((message, options),) = broker.messages[IDS[0]]
    headers = message.properties["application_headers"]
    assert message.properties["priority"] == 6
    assert message.properties["delivery_mode"] == 2
    assert message.properties["content_type"] == "application/json"
    assert (headers["trace"], headers["compression"]) == ("abc", "application/x-gzip")
    assert headers["expires"]
    assert "expiration" not in message.properties, "left to the worker: the broker makes it a dead letter"
    assert (options["exchange"], options["routing_key"]) == ("celery", "celery")


def test_declarations_are_made_once_a_connection(app: Celery, broker: Broker) -> None:
    def answer(connection: Connection, tag: int, task_id: str) -> None:
        if connection.number == 0 and tag == 3:
            connection.fail(LOST)
        else:
            connection.ack(tag)

    broker.answer = answer
    with ConfirmWindow(app, timeout=5) as window:
        publish(app, window)
    declared = [list(connection._channel.declared) for connection in broker.connections]
    assert declared == [["celery"], ["celery"]]


def test_groups_and_chains(app: Celery, broker: Broker) -> None:
    app.conf.result_backend = "cache+memory://"
    add = app.tasks["add"]
    with ConfirmWindow(app, timeout=5) as window:
        group(add.s(number, number) for number in range(10)).apply_async(producer=window)
        window.send_many(chain(add.s(1, 1), add.s(5)), [()])
        window.send_many(add.s(1), [(2,), (3,)], priority=3)
        assert window.send_many(add, [], priority=3) == []
        window.send_many(chord([add.s(1, 1), add.s(2, 2)], add.s(3)), [()])
    assert len(broker.taken) == 10 + 1 + 2 + 2


def test_a_task_that_runs_at_once_needs_no_broker(app: Celery, broker: Broker) -> None:
    app.conf.task_always_eager = True
    with ConfirmWindow(app) as window:
        results = window.send_many(app.tasks["add"], [(1, 2)])
        results += window.send_many(app.tasks["add"], [(3, 4)], serializer=None)
    assert [result.get() for result in results] == [3, 7]
    assert broker.connections == []


def test_a_backend_that_asks_for_a_channel(app: Celery, broker: Broker) -> None:
    with ConfirmWindow(app, timeout=0.3) as window:
        assert window.channel is broker.connections[0]._channel


def test_a_backend_that_asks_for_a_channel_where_there_is_no_broker(app: Celery, broker: Broker) -> None:
    broker.refuse = ConnectionRefusedError("nobody listens")
    with ConfirmWindow(app, timeout=0.1) as window, pytest.raises(OperationalError, match="nobody listens"):
        _ = window.channel


def test_each_thread_learns_of_its_own_tasks(app: Celery, broker: Broker) -> None:
    def answer(connection: Connection, tag: int, task_id: str) -> None:
        if not task_id.startswith("lost"):
            connection.ack(tag)

    broker.answer = answer
    outcome: dict[str, Any] = {}
    ready = threading.Barrier(3)

    def work(name: str, window: ConfirmWindow) -> None:
        publish(app, window, [f"{name}-{number}" for number in range(3)])
        ready.wait(5)
        try:
            window.flush()
            outcome[name] = "confirmed"
        except Unconfirmed as error:
            outcome[name] = error.task_ids

    with ConfirmWindow(app, timeout=0.5) as window:
        threads = [threading.Thread(target=work, args=(name, window)) for name in ("lost", "lost2", "sent")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
    assert outcome == {
        "lost": ["lost-0", "lost-1", "lost-2"],
        "lost2": ["lost2-0", "lost2-1", "lost2-2"],
        "sent": "confirmed",
    }


def test_a_thread_that_gives_up_early_does_so_for_itself_alone(app: Celery, broker: Broker) -> None:
    broker.answer = say_nothing
    other: list[Any] = []
    with ConfirmWindow(app, timeout=5) as window:

        def work() -> None:
            publish(app, window, ["other"])
            window.flush()
            other.append("confirmed")

        thread = threading.Thread(target=work)
        thread.start()
        until(lambda: "other" in broker.ids)
        publish(app, window, ["mine"])
        with pytest.raises(Unconfirmed) as caught:
            window.flush(timeout=0.05)
        assert caught.value.task_ids == ["mine"]
        broker.answer = confirm
        thread.join(5)
    assert other == ["confirmed"]


def test_a_flush_waits_for_its_own_thread_alone(app: Celery, broker: Broker) -> None:
    def answer(connection: Connection, tag: int, task_id: str) -> None:
        if task_id in IDS:
            connection.ack(tag)

    broker.answer = answer
    window = ConfirmWindow(app, timeout=2)
    thread = threading.Thread(target=publish, args=(app, window, ["other"]))
    thread.start()
    thread.join()
    begun = time.monotonic()
    publish(app, window)
    window.flush()
    assert time.monotonic() - begun < 1.5
    window._confirms.release()
    assert broker.connections[-1].closed == "dropped", "the next window cannot use it"


def test_a_flush_ends_while_another_thread_goes_on_publishing(app: Celery, broker: Broker) -> None:
    done = threading.Event()
    with ConfirmWindow(app, timeout=5) as window:

        def work() -> None:
            number = 0
            while not done.is_set():
                number += 1
                publish(app, window, [f"other-{number}"])

        thread = threading.Thread(target=work)
        thread.start()
        begun = time.monotonic()
        for task_id in IDS:
            publish(app, window, [task_id])
            window.flush()
        seconds = time.monotonic() - begun
        done.set()
        thread.join(5)
    assert seconds < 2
    assert set(broker.ids) == broker.taken


def test_who_leaves_the_block_learns_of_what_nobody_asked_for(app: Celery, broker: Broker) -> None:
    broker.answer = say_nothing
    window = ConfirmWindow(app, timeout=0.3)
    thread = threading.Thread(target=publish, args=(app, window, IDS))
    thread.start()
    thread.join(5)
    with pytest.raises(Unconfirmed) as caught, window:
        pass
    assert caught.value.task_ids == IDS


def test_a_forked_process_leaves_messages_and_connection_to_its_parent(app: Celery, broker: Broker) -> None:
    broker.answer = say_nothing
    with ConfirmWindow(app, timeout=5) as window:
        publish(app, window, IDS[:2])
        window._confirms._changed.acquire()  # as another thread may have had it
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)  # a deadlock is a failure, not the end of all tests
            try:
                broker.answer = confirm
                publish(app, window, IDS[2:])
                window.flush()
                new = [task_id for number, task_id in broker.received if number == 1]
                os._exit(0 if new == IDS[2:] and not broker.connections[0].closed else 1)
            finally:
                os._exit(2)
        window._confirms._changed.release()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        for tag in (1, 2):
            broker.connections[0].ack(tag)
    assert broker.ids == IDS[:2]


def test_a_thread_publishes_while_another_one_waits(
    app: Celery, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confirms, "PATIENCE_SECONDS", 5)
    monkeypatch.setattr(confirms, "SLICE_SECONDS", 5)
    broker.answer = say_nothing
    with ConfirmWindow(app, timeout=10) as window, ThreadPoolExecutor(1) as pool:

        def wait() -> None:
            publish(app, window, IDS[:1])
            window.flush()

        waits = pool.submit(wait)
        until(lambda: broker.ids == IDS[:1])
        time.sleep(0.05)
        broker.answer = confirm
        begun = time.monotonic()
        publish(app, window, IDS[1:2])
        window.flush()
        assert time.monotonic() - begun < 1
        broker.connections[0].ack(1)
        waits.result(timeout=2)


def test_a_thread_that_waits_is_woken_by_a_lost_connection(app: Celery, broker: Broker) -> None:
    def answer(connection: Connection, tag: int, task_id: str) -> None:
        if connection.number == 0 and task_id == IDS[1]:
            raise BrokenPipeError
        if connection.number > 0:
            connection.ack(tag)

    broker.answer = answer
    with ConfirmWindow(app, timeout=5) as window, ThreadPoolExecutor(1) as pool:

        def wait() -> None:
            publish(app, window, IDS[:1])
            window.flush()

        waits = pool.submit(wait)
        until(lambda: window._confirms._listening)
        publish(app, window, IDS[1:2])
        waits.result(timeout=2)
    assert broker.taken == set(IDS[:2])
