"""AMQP messages as bytes. What is the same in all messages of one `send_many` is encoded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from struct import pack
from types import FunctionType, MethodType, NoneType
from typing import Any, cast

import celery.app.amqp
import celery.app.base
import celery.app.task
from amqp import Message
from amqp.serialization import dumps
from amqp.spec import Basic
from celery import Task, signals
from celery.app.routes import MapRoute, Router
from celery.utils.saferepr import saferepr
from kombu import Producer, serialization
from kombu.transport.pyamqp import Channel

METHOD, HEADER, BODY = 1, 2, 3  # types of frames
FRAME_OVERHEAD = 8
# Options of send_many that have the same effect on each message, whenever it is published.
ALIKE_OPTIONS = frozenset(
    [
        *("kwargs", "queue", "exchange", "routing_key", "priority", "headers", "serializer", "delivery_mode"),
        *("mandatory", "ignore_result", "shadow", "time_limit", "soft_time_limit", "retry", "retry_policy"),
    ]
)
VARYING = frozenset(("id", "root_id", "argsrepr"))  # headers of a message
SIGNALS = (signals.before_task_publish, signals.after_task_publish, signals.task_sent)


@dataclass(frozen=True, slots=True)
class Encoded:
    """A message: the method basic.publish, the properties and the body."""

    method: bytes
    properties: bytes
    body: bytes

    def frames(self, channel: int, frame_max: int) -> bytes:
        """Return the message's frames, of at most `frame_max` bytes each."""
        most = frame_max - FRAME_OVERHEAD
        size = len(self.body)
        header = pack(">HHQ", Message.CLASS_ID, 0, size)
        frames = [
            *(pack(">BHI", METHOD, channel, len(self.method)), self.method, b"\xce"),
            *(
                pack(">BHI", HEADER, channel, len(header) + len(self.properties)),
                header,
                self.properties,
                b"\xce",
            ),
        ]
        for start in range(0, size, most):
            chunk = self.body[start : start + most]
            frames += (pack(">BHI", BODY, channel, len(chunk)), chunk, b"\xce")
        return b"".join(frames)


class _Recorder:
    """Replaces a channel: returns the message of kombu's Producer instead of sending it."""

    prepare_message = Channel.prepare_message

    def basic_publish(self, message: Any, **options: Any) -> tuple[Any, dict[str, Any]]:
        return message, options


_producer: Any = Producer(cast(Any, _Recorder()), auto_declare=False)


class Published:
    """A message that Celery or kombu publishes: `task_body` before, `encoded` after its serialization."""

    def __init__(self, task_body: Any, declare: list[Any], options: dict[str, Any]) -> None:
        """Take the arguments of kombu.Producer.publish. Raises EncodeError and FrameSyntaxError."""
        message, sent_with = _producer.publish(task_body, **options)
        self.task_body = task_body
        self.declare = declare
        self.serializer = options.get("serializer")
        self.properties: dict[str, Any] = message.properties
        self.task_id = (
            (options.get("headers") or {}).get("id") or options.get("correlation_id") or "(no task)"
        )
        names = ("exchange", "routing_key", "mandatory", "immediate")
        method = dumps("Bssbb", (0, *(sent_with[name] for name in names)))
        body = _body(message.body, message.properties)
        properties = message._serialize_properties()
        self.encoded = Encoded(pack(">HH", *Basic.Publish) + method, properties, body)


def _body(body: str | bytes, properties: dict[str, Any]) -> bytes:
    if isinstance(body, str):
        return body.encode(properties.setdefault("content_encoding", "utf-8"))
    return body


def are_alike(app: Any, task: Any, options: dict[str, Any]) -> bool:
    """Whether messages of this task with these options differ only in ids and positional arguments.

    Not with receivers of signals, with routers that are functions, with events for sent tasks, and with code
    that replaces or wraps methods of Celery, as some tracing libraries do.
    """
    methods = [(app.send_task, celery.app.base), (app.amqp.create_task_message, celery.app.amqp)]
    if not isinstance(task, str):
        if not isinstance(task, Task):
            return False
        methods += [(task.apply_async, celery.app.task), (task.shadow_name, celery.app.task)]
        own: Any = task  # celery-types is incomplete
        if getattr(own, "_dump_pydantic_arguments", None) is not None or own.app is not app:
            return False
    router: Any = app.amqp.router
    return (
        ALIKE_OPTIONS.issuperset(options)
        and VARYING.isdisjoint(options.get("headers") or ())
        and all(_is_of(method, module) for method, module in methods)
        and type(router) is Router
        and all(type(route) is MapRoute for route in vars(router)["routes"])
        and not any(signal.receivers for signal in SIGNALS)
        and not app.conf.task_send_sent_event
        and not app.conf.task_always_eager
        and not app.conf.task_compression
    )


def _is_of(method: Any, module: Any) -> bool:
    function = method.__func__ if type(method) is MethodType else None
    return type(function) is FunctionType and function.__globals__ is vars(module)


class Template:
    """Encodes messages that differ from a published one in their ids and positional arguments only."""

    def __init__(self, app: Any, message: Published) -> None:
        """Encode what all these messages share with `message`, a message of a task."""
        _, self.kwargs, self._embed = message.task_body
        self._serializer = message.serializer
        self._properties = properties = message.properties
        headers = properties["application_headers"]
        self.declare = message.declare
        self.ignore_result = headers["ignore_result"]
        self._method = message.encoded.method
        self._repr_size = app.amqp.argsrepr_maxsize
        self._repr_levels = app.conf.get("task_repr_maxlevels", 3)
        names = [name for name, _ in Message.PROPERTIES]
        table, correlation = names.index("application_headers"), names.index("correlation_id")
        self._before = message.encoded.properties[:2] + self._part(0, table)  # begins with the flags
        self._between = self._part(table + 1, correlation)
        self._after = self._part(correlation + 1, len(names))
        varying = {name for name in VARYING if name == "argsrepr" or headers[name] == message.task_id}
        # The header table without the values of headers that vary.
        self._varying: list[str] = []
        self._table = [b""]
        for name, value in headers.items():
            item = dumps("F", ({name: value},))[4:]
            if name not in varying:
                self._table[-1] += item
            else:
                self._varying.append(name)
                self._table[-1] += item[: 1 + len(name)]
                self._table.append(b"")

    def _part(self, first: int, end: int) -> bytes:
        kinds, values = [], []
        for name, kind in Message.PROPERTIES[first:end]:
            if self._properties.get(name) is not None:
                kinds.append(kind)
                values.append(self._properties[name])
        return dumps("".join(kinds), tuple(values))

    def _repr(self, args: Any) -> str:
        """Return Celery's saferepr. For plain values repr is the same, and much faster."""
        if type(args) is tuple and all(map(_is_plain, args)):
            text = repr(args)
            if len(text) < self._repr_size:
                return text
        return saferepr(args, self._repr_size, self._repr_levels)

    def encode(self, task_id: str, args: Any) -> Encoded:
        """Return the message with this id and these arguments. Raises TypeError and EncodeError."""
        args = args or ()
        if not isinstance(args, (list, tuple)):
            raise TypeError("task args must be a list or tuple")
        ident = task_id.encode()
        text = self._repr(args).encode("utf-8", "surrogatepass")
        long_ident = pack(">cI", b"S", len(ident)) + ident
        values = {"argsrepr": pack(">cI", b"S", len(text)) + text}
        pieces = [self._table[0]]
        for name, piece in zip(self._varying, self._table[1:], strict=True):
            pieces += (values.get(name, long_ident), piece)
        table = b"".join(pieces)
        properties = b"".join(
            (
                self._before,
                pack(">I", len(table)),
                table,
                self._between,
                pack("B", len(ident)),
                ident,
                self._after,
            )
        )
        task_body = (args, self.kwargs, self._embed)
        _, _, body = serialization.dumps(task_body, serializer=self._serializer)
        return Encoded(self._method, properties, _body(body, self._properties))


def _is_plain(value: Any) -> bool:
    if type(value) is str:
        return value.isprintable() and "'" not in value and "\\" not in value
    return type(value) in (int, float, bool, NoneType)


def template_of(app: Any, published: Sequence[Published]) -> Template | None:
    """Return the template of two messages. None: they differ in more than their ids and arguments."""
    if len(published) < 2:
        return None
    first, second = published
    template = Template(app, first)
    same = template.encode(second.task_id, second.task_body[0]) == second.encoded
    return template if same else None
