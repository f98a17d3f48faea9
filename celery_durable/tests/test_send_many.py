"""send_many publishes what apply_async publishes, and encodes equal parts of usual messages only once."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from amqp.method_framing import frame_writer
from amqp.serialization import dumps
from amqp.spec import Basic
from celery import Celery, Task, signals
from celery._state import _task_stack
from celery.utils.saferepr import saferepr
from celery_durable.link import Links
from celery_durable.message import Template
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kombu import Producer
from kombu.exceptions import EncodeError
from kombu.transport.pyamqp import Channel
from scripted import Broker, Connection, parse

from celery_durable import ConfirmWindow, make_durable, window

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
FRAME_MAX = 4096
APP = make_durable(Celery("shop", broker="amqp://u:p@127.0.0.1:1//", set_as_current=False))
APP.conf.task_routes = {"routed": {"queue": "orders", "priority": 2}}
Sent = tuple[bytes, list[tuple[str, bool | None]]]


@APP.task(name="free", shared=False, typing=False)
def free(*args: Any, **kwargs: Any) -> None:
    """Take anything."""


@APP.task(name="routed", shared=False, ignore_result=True, time_limit=20, bind=True)
def routed(self: Any, first: Any, second: Any = None) -> None:
    """Have options, a route and a signature."""


class Wire:
    """A channel; py-amqp encodes what is published on it."""

    prepare_message = Channel.prepare_message

    def __init__(self) -> None:
        self.written = bytearray()
        self.connection = SimpleNamespace(client=APP.connection_for_write())
        end = SimpleNamespace(frame_max=FRAME_MAX, bytes_sent=0, write=self.written.extend)
        self._write_frame = frame_writer(end, end)

    def basic_publish(self, message: Any, **options: Any) -> None:
        names = ("exchange", "routing_key", "mandatory", "immediate")
        arguments = dumps("Bssbb", (0, *(options[name] for name in names)))
        self._write_frame(1, 1, Basic.Publish, arguments, message)


class PlainProducer(Producer):
    """Celery's producer without declarations."""

    def maybe_declare(self, entity: Any, **_: Any) -> None:
        """Do nothing."""


@contextmanager
def circumstances(traced: bool = False, inside: bool = False) -> Iterator[None]:
    """Have known ids and a known time, and perhaps a receiver of a signal, and a task that runs."""
    numbers = itertools.count()

    def trace(headers: dict[str, Any], **_: Any) -> None:
        headers["traceparent"] = f"00-{next(numbers)}"

    with ExitStack() as stack:
        ids = (f"id-{number}" for number in itertools.count())
        for module in ("celery.app.base", "celery_durable.window"):
            stack.enter_context(patch(f"{module}.uuid", lambda: next(ids)))
        stack.enter_context(patch.object(APP, "now", lambda: NOW))
        if traced:
            signals.before_task_publish.connect(trace, weak=False)
            stack.callback(signals.before_task_publish.disconnect, trace)
        if inside:
            task: Any = APP.tasks["free"]
            task.push_request(id="parent", root_id="root", called_directly=False, children=[])
            stack.callback(task.pop_request)
            _task_stack.push(task)
            stack.callback(_task_stack.pop)
        yield


def plainly(task: Any, arguments: list[Any], options: dict[str, Any], **where: bool) -> Sent:
    """Publish with apply_async or send_task and py-amqp."""
    wire = Wire()
    producer = PlainProducer(wire, auto_declare=False)
    options = dict(options)
    ids = options.pop("task_ids", None) or itertools.repeat(None)
    with circumstances(**where):
        send: Any = task.apply_async if task in (free, routed) else lambda a, **o: APP.send_task(task, a, **o)
        publish = functools.partial(send, producer=producer, retry=False, **options)
        # The option task_id gives each message the same one.
        results = [
            publish(args) if task_id is None else publish(args, task_id=task_id)
            for args, task_id in zip(arguments, ids, strict=False)
        ]
    return bytes(wire.written), [(result.id, result.ignored) for result in results]


def by_window(task: Any, arguments: list[Any], options: dict[str, Any], **where: bool) -> Sent:
    """Publish with send_many."""
    broker = Broker()
    Links._of.pop(APP, None)
    with patch.object(APP, "connection_for_write", APP.connection_for_write):
        broker.serve(APP)
        with circumstances(**where), ConfirmWindow(APP, size=7, timeout=5) as confirms:
            results = confirms.send_many(task, arguments, **options)
    Links._of.pop(APP, None)
    return bytes(broker.written), [(result.id, result.ignored) for result in results]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.text(max_size=9) | st.sampled_from(("id", "root_id", "argsrepr", "parent_id"))
HEADERS = st.dictionaries(NAMES, st.none() | st.booleans() | st.integers(0, 2**40) | st.text(max_size=9))
USUAL = {
    "kwargs": st.dictionaries(st.sampled_from(("second", "other")), VALUES, max_size=2),
    "queue": st.sampled_from(("celery", "orders")),
    "routing_key": st.text("abc.#é", min_size=1, max_size=9),
    "priority": st.integers(0, 9),
    "headers": HEADERS,
    "serializer": st.sampled_from(("json", "pickle", "yaml")),
    "ignore_result": st.booleans(),
    "mandatory": st.booleans(),
    "shadow": st.text(min_size=1, max_size=9),
    "time_limit": st.integers(20, 30),
    "soft_time_limit": st.integers(1, 10),
    "delivery_mode": st.sampled_from((1, 2)),
}
UNUSUAL = {
    "compression": st.just("zlib"),
    "countdown": st.integers(1, 5000),
    "eta": st.integers(1, 5000).map(lambda seconds: NOW + timedelta(seconds=seconds)),
    "expires": st.integers(1, 5000),
    "link": st.builds(lambda: APP.signature("free", (1,))),
    "task_id": st.just("mine"),
    "root_id": st.just("above"),
    "parent_id": st.just("above"),
    "group_id": st.just("all"),
    "reply_to": st.just("somewhere"),
    "expiration": st.integers(1, 9),
    "message_id": st.just("an id"),
    "argsrepr": st.just("(secret)"),
    "add_to_parent": st.booleans(),
    "exchange": st.just("celery"),
}


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    task=st.sampled_from((free, routed, "free", "unknown", "routed")),
    arguments=st.lists(
        st.lists(VALUES, min_size=1, max_size=1).flatmap(lambda v: st.sampled_from((v, tuple(v)))), max_size=8
    ),
    options=st.fixed_dictionaries({}, optional=USUAL) | st.fixed_dictionaries({}, optional=USUAL | UNUSUAL),
    given_ids=st.booleans(),
    traced=st.booleans(),
    inside=st.booleans(),
)
@example(free, [("x" * size,) for size in (1, 2, 4000, 9000)], {}, False, False, False)
@example(free, [(1,), (1,), (2,)], {"headers": {"argsrepr": "(1,)"}}, False, False, False)
@example(free, [(1,), (2,), (3,)], {"headers": {"id": "mine"}}, False, False, False)
@example(routed, [(1,), (2,), (3, 4, 5)], {}, False, False, False)
@example(free, [(1,), (2,), (object(),)], {}, False, False, False)
@example("free", [(1,), (2,), "three"], {}, False, False, False)
def test_send_many_publishes_what_apply_async_publishes(
    task: Any, arguments: list[Any], options: dict[str, Any], given_ids: bool, traced: bool, inside: bool
) -> None:
    if given_ids and "task_id" not in options:
        options = {**options, "task_ids": [f"mine-{number}" for number, _ in enumerate(arguments)]}
    where = {"traced": traced, "inside": inside}
    try:
        expected = plainly(task, arguments, options, **where)
    except (TypeError, ValueError, EncodeError) as error:
        with pytest.raises(type(error)):
            by_window(task, arguments, options, **where)
        return
    assert by_window(task, arguments, options, **where) == expected


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The messages that came from Celery, not from the template."""
    found: list[Any] = []
    real = window.Published

    def publish(*args: Any) -> Any:
        found.append(real(*args))
        return found[-1]

    monkeypatch.setattr(window, "Published", publish)
    return found


@pytest.mark.parametrize("task", [free, routed, "free", "unknown"])
@pytest.mark.parametrize(
    "options", [{}, {"headers": {"traceparent": "00-a"}, "queue": "orders", "priority": 6}]
)
def test_usual_messages_are_encoded_by_a_template(
    published: list[Any], task: Any, options: dict[str, Any]
) -> None:
    sent, results = by_window(task, [(number,) for number in range(50)], options)
    assert len(results) == 50
    assert len(published) == 2
    assert sent.count(b"traceparent") == (50 if options else 0)


def all_by_celery(published: list[Any], task: Any = free, **options: Any) -> bool:
    by_window(task, [(number,) for number in range(10)], options)
    return len(published) == 10


@pytest.mark.parametrize("option", sorted(UNUSUAL))
def test_unusual_options_are_left_to_celery(published: list[Any], option: str) -> None:
    values = {"countdown": 3, "eta": NOW, "expires": 9, "link": APP.signature("free"), "add_to_parent": True}
    if option != "exchange":
        assert all_by_celery(published, **{option: values.get(option, "zlib")})


@pytest.mark.parametrize("signal", ["before_task_publish", "after_task_publish"])
def test_receivers_of_signals_get_each_message(published: list[Any], signal: str) -> None:
    found: list[str] = []

    def note(headers: dict[str, Any], **_: Any) -> None:
        found.append(headers["id"])

    getattr(signals, signal).connect(note)
    try:
        assert all_by_celery(published)
    finally:
        getattr(signals, signal).disconnect(note)
    assert found == [f"id-{number}" for number in range(10)]


def test_routers_that_are_functions_see_each_message(
    published: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(APP.amqp.router, "routes", [lambda _, args, *__, **___: {"priority": args[0] % 10}])
    assert all_by_celery(published)
    assert [message.properties["priority"] for message in published] == list(range(10))


@pytest.mark.parametrize("setting", ["task_send_sent_event", "task_compression"])
def test_unusual_settings_are_left_to_celery(
    published: list[Any], monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    values = {"task_send_sent_event": True, "task_compression": "zlib"}
    monkeypatch.setitem(APP.conf, setting, values[setting])
    monkeypatch.setattr(
        APP.amqp, "_event_dispatcher", SimpleNamespace(publish=lambda *_, **__: None), raising=False
    )
    monkeypatch.setattr(APP.amqp, "send_task_message", APP.amqp._create_task_sender(), raising=False)
    assert all_by_celery(published)


def test_what_wraps_apply_async_sees_each_message(
    published: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As some tracing libraries do."""
    real = Task.apply_async
    seen: list[Any] = []

    @functools.wraps(real)
    def wrapped(self: Any, args: Any = None, *more: Any, **options: Any) -> Any:
        seen.append(args)
        return real(self, args, *more, **options)

    monkeypatch.setattr(Task, "apply_async", wrapped)
    assert all_by_celery(published)
    assert len(seen) == 10


def test_messages_that_differ_in_more_than_ids_and_arguments_are_left_to_celery(
    published: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The template of the first message must give the second one."""
    numbers = itertools.count()
    monkeypatch.setattr("celery.app.amqp.anon_nodename", lambda: f"gen{next(numbers)}@host")
    assert all_by_celery(published)


@pytest.mark.parametrize(("size", "batches"), [(1, [window.BATCH] * 3), (40_000, [2] * 48)])
def test_messages_are_sent_in_batches(monkeypatch: pytest.MonkeyPatch, size: int, batches: list[int]) -> None:
    writes: list[int] = []
    real = Connection.write

    def write(self: Connection, data: bytes) -> None:
        writes.append(len(parse(data, self.frame_max)))
        real(self, data)

    monkeypatch.setattr(Connection, "write", write)
    broker = Broker()
    with patch.object(APP, "connection_for_write", APP.connection_for_write):
        broker.serve(APP)
        with ConfirmWindow(APP, timeout=5) as confirms:
            confirms.send_many(free, [("x" * size,)] * (2 + 3 * window.BATCH))
    Links._of.pop(APP, None)
    assert writes == [1, 1, *batches]


def test_arguments_that_raise_in_the_middle_leave_earlier_messages_published() -> None:
    def arguments() -> Iterator[tuple[int]]:
        for number in range(5):
            yield (number,)
        raise KeyError("mine")

    broker = Broker()
    with patch.object(APP, "connection_for_write", APP.connection_for_write):
        broker.serve(APP)
        with ConfirmWindow(APP, timeout=5) as confirms, pytest.raises(KeyError):
            confirms.send_many(free, arguments())
    Links._of.pop(APP, None)
    assert len(broker.taken) == 5


@pytest.mark.parametrize("count", [1, 5, 7])
def test_as_many_ids_as_arguments(count: int) -> None:
    with pytest.raises(ValueError, match="zip"):
        by_window(free, [(number,) for number in range(6)], {"task_ids": ["mine"] * count})


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.lists(VALUES, max_size=4).map(tuple), st.sampled_from((5, 30, 1024)))
@example(("it's", 1), 1024)
@example(("\\", "\n", "é", "\u200b", "\ud800"), 1024)
@example((True, None, -0.0, 1e300, 10**30), 1024)
@example(("x" * 1020,), 1024)
@example(("x" * 1019,), 1024)
def test_the_representation_of_arguments_is_celerys(args: tuple[Any, ...], size: int) -> None:
    template = object.__new__(Template)
    template._repr_size, template._repr_levels = size, 3
    assert template._repr(args) == saferepr(args, size, 3)
