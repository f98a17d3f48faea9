"""From the answers of the management API to the drawing: no input or output here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

from mosaic.gateway.flow.explain import FOLDS, declared_by
from mosaic.gateway.flow.schemas import (
    Binding,
    Consumer,
    Exchange,
    Fold,
    Link,
    Producer,
    Queue,
    Subscription,
)
from mosaic.gateway.lab.queues import DELAYS
from mosaic.logs.tail import PREFIX as TAILS

Document = dict[str, Any]

# Celery's names for exchanges and queues of events, of remote control and of its answers.
CONTROL = re.compile(r"celeryev(\..+)?|(.+\.)?(reply\.)?celery\.pidbox")
DEFAULT = "exchange:"


@dataclass
class Answers:
    """What the management API and the brokers answered about one vhost.

    `exchange_stats` and `queue_stats` are the answers for single exchanges and queues, by name; only those
    have the rates of each connection. `ready` are the counts of the leaders.
    """

    exchanges: list[Document] = field(default_factory=list)
    bindings: list[Document] = field(default_factory=list)
    queues: list[Document] = field(default_factory=list)
    consumers: list[Document] = field(default_factory=list)
    connections: list[Document] = field(default_factory=list)
    exchange_stats: dict[str, Document] = field(default_factory=dict)
    queue_stats: dict[str, Document] = field(default_factory=dict)
    ready: dict[str, int] = field(default_factory=dict)


@dataclass
class Drawing:
    """The nodes of the drawing, and the lines between them."""

    exchanges: list[Exchange]
    bindings: list[Binding]
    queues: list[Queue]
    folds: list[Fold]
    producers: list[Producer]
    consumers: list[Consumer]


def fold_of(name: str) -> str | None:
    """Return the fold that has this queue or exchange; None: it is drawn by itself."""
    if name.startswith(DELAYS):
        return "delays"
    if CONTROL.fullmatch(name):
        return "control"
    return "tails" if name.startswith(TAILS) else None


def node_of(kind: str, name: str) -> str:
    """Return the id of the node that draws a queue or an exchange."""
    fold = fold_of(name)
    return f"fold:{fold}" if fold else f"{kind}:{name}"


def draw(
    answers: Answers, vhost: str, own_vhost: str, hosts: Mapping[str, str], down: AbstractSet[str]
) -> Drawing:
    """Return the drawing of a vhost.

    `hosts`: address -> host; `down`: the brokers that do not answer.
    """
    clients = _Clients(answers.connections, hosts)
    bindings = _bindings(answers, vhost, own_vhost)
    producers = _producers(answers, clients)
    used = {binding.source for binding in bindings} | {binding.target for binding in bindings}
    used |= {link.target for producer in producers for link in producer.links}
    exchanges = [
        Exchange(
            id=f"exchange:{name}",
            name=name,
            type="default" if not name else str(exchange["type"]),
            rate=_rate(answers.exchange_stats.get(name), "publish_in"),
            code=declared_by(vhost, own_vhost, name),
        )
        for exchange in answers.exchanges
        if fold_of(name := str(exchange["name"])) is None
        # Of RabbitMQ's own exchanges, only those that somebody uses.
        and (f"exchange:{name}" in used or (name and not name.startswith("amq.")))
    ]
    return Drawing(
        exchanges=exchanges,
        bindings=bindings,
        queues=[
            _queue(queue, answers, vhost, own_vhost, down)
            for queue in answers.queues
            if fold_of(str(queue["name"])) is None
        ],
        folds=_folds(answers),
        producers=producers,
        consumers=_consumers(answers, clients),
    )


def _rate(document: Document | None, what: str) -> float:
    stats = (document or {}).get("message_stats") or (document or {}).get("stats") or {}
    return round(float((stats.get(f"{what}_details") or {}).get("rate") or 0.0), 1)


def _bindings(answers: Answers, vhost: str, own_vhost: str) -> list[Binding]:
    found: dict[tuple[str, str], Binding] = {}

    def at(source: str, target: str, name: str) -> Binding:
        code = declared_by(vhost, own_vhost, name)
        new = Binding(
            id=f"binding:{source}>{target}", source=source, target=target, keys=[], rate=None, code=code
        )
        return found.setdefault((source, target), new)

    for one in answers.bindings:
        source = node_of("exchange", str(one["source"]))
        target = node_of(str(one["destination_type"]), str(one["destination"]))
        # Every queue is bound to the default exchange.
        if source not in (DEFAULT, target):
            _add_key(at(source, target, str(one["source"])), _key(one))
    for name, queue, rate in _routed(answers):
        source, target = node_of("exchange", name), node_of("queue", queue)
        if source == DEFAULT and rate:
            _add_key(at(source, target, name), queue)
        if (source, target) in found:  # not when it was deleted a moment ago
            binding = found[source, target]
            binding.rate = round((binding.rate or 0.0) + rate, 1)
    for binding in found.values():
        if binding.rate is None and binding.target.startswith("queue:"):
            binding.rate = 0.0
        # Celery binds each queue a second time for delayed tasks: first the key that a reader expects.
        binding.keys.sort(key=lambda key: (key.startswith("#."), key))
    return sorted(found.values(), key=lambda binding: binding.id)


def _routed(answers: Answers) -> Iterator[tuple[str, str, float]]:
    """Yield exchange, queue and rate of what was routed."""
    for name, document in answers.exchange_stats.items():
        for out in document.get("outgoing") or []:
            yield name, str((out.get("queue") or {}).get("name", "")), _rate(out, "publish")


def _add_key(binding: Binding, key: str) -> None:
    if key not in binding.keys:
        binding.keys.append(key)


def _key(binding: Document) -> str:
    arguments = binding.get("arguments") or {}
    if arguments:
        return ", ".join(f"{name}={value}" for name, value in sorted(arguments.items()))[:200]
    return str(binding["routing_key"])


def _queue(queue: Document, answers: Answers, vhost: str, own_vhost: str, down: AbstractSet[str]) -> Queue:
    name = str(queue["name"])
    leader = str(queue.get("leader") or queue.get("node") or "").removeprefix("rabbit@")
    return Queue(
        id=f"queue:{name}",
        name=name,
        type=str(queue.get("type") or "classic"),
        ready=answers.ready.get(name, int(queue.get("messages_ready") or 0)),
        exact=name in answers.ready,
        unacknowledged=int(queue.get("messages_unacknowledged") or 0),
        rate_out=_rate(answers.queue_stats.get(name), "deliver_get"),
        consumers=sum((one.get("queue") or {}).get("name") == name for one in answers.consumers),
        leader=leader,
        broken=leader in down,
        code=declared_by(vhost, own_vhost, name),
    )


def _folds(answers: Answers) -> list[Fold]:
    folds = []
    for key, (name, code) in FOLDS.items():
        members = [queue for queue in answers.queues if fold_of(str(queue["name"])) == key]
        if members:
            messages = sum(int(queue.get("messages") or 0) for queue in members)
            folds.append(Fold(id=f"fold:{key}", name=name, queues=len(members), messages=messages, code=code))
    return folds


class _Clients:
    """The connections of the vhost: their hosts, programs and users."""

    def __init__(self, connections: Sequence[Document], hosts: Mapping[str, str]) -> None:
        self._known = {str(one.get("name")): one for one in connections}
        self._hosts = hosts

    def describe(self, channel: Document) -> dict[str, str]:
        """Return host, program and user of the connection of a channel."""
        connection = self._known.get(str(channel.get("connection_name")), {})
        properties = connection.get("client_properties") or {}
        address = str(channel.get("peer_host") or connection.get("peer_host") or "")
        own_name = str(properties.get("connection_name") or "")
        program, _, host = own_name.rpartition("@")
        return {
            "host": (host if program else "") or self._hosts.get(address, address) or "unknown",
            "program": program or own_name or str(properties.get("product") or "a client"),
            "user": str(channel.get("user") or ""),
        }


def _producers(answers: Answers, clients: _Clients) -> list[Producer]:
    found: dict[str, Producer] = {}
    for name, document in answers.exchange_stats.items():
        target = node_of("exchange", name)
        for source in document.get("incoming") or []:
            channel = source.get("channel_details") or {}
            # A folded exchange has many levels, and one line stands for all of them.
            key = f"producer:{channel.get('connection_name')}"
            producer = found.setdefault(key, Producer(id=key, links=[], **clients.describe(channel)))
            _add(producer.links, target, _rate(source, "publish"), Link)
    return _sorted(_merge(found.values()))


def _consumers(answers: Answers, clients: _Clients) -> list[Consumer]:
    rates: dict[tuple[str, str], float] = {}
    for name, document in answers.queue_stats.items():
        for delivery in document.get("deliveries") or []:
            channel = str((delivery.get("channel_details") or {}).get("name"))
            rates[name, channel] = rates.get((name, channel), 0.0) + _rate(delivery, "deliver_get")
    found: dict[str, Consumer] = {}
    for one in answers.consumers:
        details = one.get("channel_details") or {}
        queue = str((one.get("queue") or {}).get("name"))
        key = f"consumer:{details.get('connection_name')}"
        consumer = found.setdefault(key, Consumer(id=key, links=[], **clients.describe(details)))
        target = node_of("queue", queue)
        # Two consumers of a channel share its rate.
        rate = rates.pop((queue, str(details.get("name"))), 0.0)
        prefetch, acknowledges = int(one.get("prefetch_count") or 0), bool(one.get("ack_required"))
        _add(consumer.links, target, rate, Subscription, prefetch=prefetch, acknowledges=acknowledges)
    return _sorted(found.values())


def _add(links: list[Any], target: str, rate: float, kind: type[Link], **more: Any) -> None:
    known = next((link for link in links if link.target == target), None)
    if known is None:
        links.append(kind(target=target, rate=rate, **more))
    else:
        known.rate = round(known.rate + rate, 1)


def _merge(producers: Iterable[Producer]) -> list[Producer]:
    """Return one producer for each program of a host: its pool processes have a connection each."""
    found: dict[str, Producer] = {}
    for producer in producers:
        key = f"producer:{producer.program}@{producer.host}:{producer.user}"
        merged = found.setdefault(key, producer.model_copy(update={"id": key, "links": []}))
        for link in producer.links:
            _add(merged.links, link.target, link.rate, Link)
    return list(found.values())


def _sorted(clients: Iterable[Any]) -> list[Any]:
    return sorted(clients, key=lambda client: (client.host, client.program, client.id))
