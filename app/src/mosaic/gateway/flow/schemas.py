"""What the page Flow draws. Rates are in messages a second, as the brokers measured them."""

from __future__ import annotations

import datetime
from typing import Literal

from pydantic import BaseModel

from mosaic.gateway.lab.schemas import State

Kind = Literal["exchange", "queue", "fold"]


class Broker(BaseModel):
    """A broker and its state by its health check."""

    name: str
    state: State


class Exchange(BaseModel):
    """An exchange; `rate` counts the messages that are published to it. The default exchange has no name."""

    id: str
    name: str
    type: str
    rate: float
    code: str


class Binding(BaseModel):
    """All bindings from one exchange to one queue or exchange: their routing keys, or headers to match.

    `rate` is None where the broker does not count, which is between two exchanges.
    """

    id: str
    source: str
    target: str
    keys: list[str]
    rate: float | None
    code: str


class Queue(BaseModel):
    """A queue; `leader` is the broker that leads it, and `broken` says that this broker is down.

    `exact`: the leader was asked for `ready`. Otherwise it is as old as the brokers' statistics.
    """

    id: str
    name: str
    type: str
    ready: int
    exact: bool
    unacknowledged: int
    rate_out: float
    consumers: int
    leader: str
    broken: bool
    code: str


class Fold(BaseModel):
    """Queues and exchanges that Celery or the console declare by themselves, drawn as one node."""

    id: str
    name: str
    queues: int
    messages: int
    code: str


class Link(BaseModel):
    """A line between a client and a node; `rate` in messages a second."""

    target: str
    rate: float


class Producer(BaseModel):
    """A connection that publishes, and to which exchanges."""

    id: str
    host: str
    program: str
    user: str
    links: list[Link]


class Subscription(Link):
    """A consumer of a queue: its prefetch (0 is no limit), and whether it acknowledges."""

    prefetch: int
    acknowledges: bool


class Consumer(BaseModel):
    """A connection that consumes, and its queues."""

    id: str
    host: str
    program: str
    user: str
    links: list[Subscription]


class FlowState(BaseModel):
    """A vhost at `now`.

    `topology`, `counts` and `rates` are the times of the readings, by the gateway's clock like `now`; None
    before the first one. `reason`: why the drawing is old.
    """

    vhost: str
    vhosts: list[str]
    reason: str
    now: datetime.datetime
    topology: datetime.datetime | None
    counts: datetime.datetime | None
    rates: datetime.datetime | None
    brokers: list[Broker]
    exchanges: list[Exchange]
    bindings: list[Binding]
    queues: list[Queue]
    folds: list[Fold]
    producers: list[Producer]
    consumers: list[Consumer]
