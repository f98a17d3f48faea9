"""The page Flow: from recorded answers of RabbitMQ's management API to the parts that are drawn.

The answers are of one broker, rates_mode detailed, with three levels of delayed delivery kept.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import pytest
from mosaic.config import Config, Lab
from mosaic.gateway.flow import watch as watching
from mosaic.gateway.flow.counts import address
from mosaic.gateway.flow.drawing import fold_of
from mosaic.gateway.flow.explain import EXPLANATIONS, FOLDS
from mosaic.gateway.flow.schemas import FlowState
from mosaic.gateway.flow.watch import FlowWatch, host_names
from mosaic.gateway.lab.brokers import BrokerCheck, BrokerWatch

RECORDED = Path(__file__).parent / "recorded" / "flow.json"
HOSTS = "10.20.0.11 broker-1\n10.20.0.31 worker-1  # of the lab\n\n"


class Brokers:
    """The brokers as the watch of the lab has them, with the recorded answers."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = json.loads(RECORDED.read_text(encoding="utf-8"))
        self.checks = {name: BrokerCheck(name, up=True) for name in ("broker-1", "broker-2")}
        self.asked: list[str] = []
        self.error = ""

    async def ask(self, path: str) -> Any:
        """Return a recorded answer."""
        self.asked.append(path)
        if self.error or path not in self.answers:
            raise ConnectionError(self.error or f"{path} was not recorded.")
        return copy.deepcopy(self.answers[path])


class FixedCounts:
    """Counts of queues, as their leaders would answer."""

    def __init__(self) -> None:
        self.ready = {"mosaic.render": 17}
        self.closed = False

    def read(self, names: Iterable[str]) -> dict[str, int]:
        """Return the counts of those that were asked for."""
        return {name: self.ready.get(name, 0) for name in names}

    def close(self) -> None:
        """Note it."""
        self.closed = True


@pytest.fixture
def brokers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Brokers:
    """The recorded brokers; the watch reads fast, and knows the hosts of the recording."""
    monkeypatch.setattr(watching, "TOPOLOGY_SECONDS", 0.01)
    monkeypatch.setattr(watching, "RATES_SECONDS", 0.01)
    monkeypatch.setattr(watching, "SEND_SECONDS", 0.01)
    monkeypatch.setattr(watching, "SHORTEST_PAUSE", 0.01)
    (tmp_path / "hosts").write_text(HOSTS)
    known = host_names(tmp_path / "hosts")
    monkeypatch.setattr(watching, "host_names", lambda: known)
    return Brokers()


CONFIG = Config.model_validate(
    {
        "host": "gateway-1",
        "broker": {"url": "amqp://mosaic:pw@127.0.0.1:5672/mosaic"},
        "database": {"url": "postgresql+psycopg://mosaic@/mosaic"},
        "lab": {"brokers": ["broker-1", "broker-2"], "monitor_password": "a/b"},
    }
)


def flow_of(brokers: Brokers, counts: FixedCounts) -> FlowWatch:
    """Return a watch of these brokers."""
    return FlowWatch(CONFIG, cast(BrokerWatch, brokers), lambda _: counts)


def states(brokers: Brokers, vhost: str, *acts: Any, counts: FixedCounts | None = None) -> list[FlowState]:
    """Return the state of a vhost with its rates, and one after each of `acts`."""
    watch = flow_of(brokers, counts or FixedCounts())

    async def follow() -> list[FlowState]:
        found: list[FlowState] = []
        events = watch.follow(vhost)
        for act in (None, *acts):
            before = None
            if act is not None:
                act()
                before = found[-1]
            async with asyncio.timeout(5):
                async for event in events:
                    readable = event.data.rates is not None or event.data.reason
                    # One that was read after the act.
                    if readable and (before is None or _content(event.data) != _content(before)):
                        found.append(event.data)
                        break
        await events.aclose()
        return found

    return asyncio.run(follow())


def _content(state: FlowState) -> dict[str, Any]:
    return state.model_dump(exclude={"now", "topology", "counts", "rates"})


def test_parts_of_the_application_are_drawn(brokers: Brokers) -> None:
    (state,) = states(brokers, "mosaic")
    assert state.vhosts == ["/", "mosaic", "shop", "tour"]
    assert [one.name for one in state.exchanges] == ["mosaic.dead", "mosaic.logs", "mosaic.tasks"]
    render = next(one for one in state.queues if one.name == "mosaic.render")
    assert (render.type, render.ready, render.exact, render.leader) == ("quorum", 17, True, "broker-1")
    assert render.consumers == 3
    assert render.rate_out > 1
    binding = next(one for one in state.bindings if one.target == render.id)
    assert (binding.source, binding.keys) == ("exchange:mosaic.tasks", ["render", "#.render"])
    assert binding.rate is not None
    assert binding.rate > 1
    assert binding.code == "app/src/mosaic/topology.py"


def test_delay_levels_are_one_part(brokers: Brokers) -> None:
    (state,) = states(brokers, "mosaic")
    (delays,) = state.folds
    assert (delays.id, delays.queues, delays.messages) == ("fold:delays", 2, 0)
    assert not [one for one in (*state.queues, *state.exchanges) if "celery_delayed" in one.name]
    (feeds,) = [one for one in state.bindings if one.source == "fold:delays"]
    assert (feeds.target, "#.render" in feeds.keys, feeds.rate) == ("exchange:mosaic.tasks", True, None)


def test_clients_have_their_host_and_their_program(brokers: Brokers) -> None:
    (state,) = states(brokers, "mosaic")
    gateway, *shippers = state.producers
    assert (gateway.host, gateway.program) == ("gateway-1", "gateway")
    assert [(link.target, link.rate > 5) for link in gateway.links] == [("exchange:mosaic.tasks", True)]
    assert {one.host for one in shippers} == {"worker-1", "worker-2", "worker-3"}
    consumer = next(one for one in state.consumers if (one.host, one.program) == ("worker-2", "render"))
    links = {link.target: (link.prefetch, link.acknowledges) for link in consumer.links}
    assert links == {"queue:mosaic.render": (4, True), "queue:mosaic.host.worker-2": (4, True)}
    assert sum(link.rate for link in consumer.links) > 0.5


def test_client_without_a_name_is_known_by_its_address_and_its_library(brokers: Brokers) -> None:
    (state,) = states(brokers, "tour")
    assert {(one.host, one.program) for one in (*state.producers, *state.consumers)} == {
        ("worker-1", "Pika Python Client Library")
    }
    default = next(one for one in state.exchanges if not one.name)
    assert (default.type, default.rate) == ("default", 2.0)
    (binding,) = [one for one in state.bindings if one.source == default.id]
    assert (binding.target, binding.keys, binding.rate) == ("queue:second", ["second"], 2.0)


def test_new_binding_appears_and_a_broker_that_is_down_breaks_its_queues(brokers: Brokers) -> None:
    path = f"/api/bindings/tour?columns={watching.BINDING_COLUMNS}"
    new = {"source": "ticks", "destination": "second", "destination_type": "queue", "routing_key": "tick.#"}

    def bind() -> None:
        brokers.answers[path].append(new)

    def kill() -> None:
        brokers.error = "the management API does not answer (no broker is up)."
        brokers.checks["broker-1"].record(False, "its host does not answer")

    before, bound, killed = states(brokers, "tour", bind, kill)
    wanted = "binding:exchange:ticks>queue:second"
    assert wanted not in {one.id for one in before.bindings}
    assert next(one for one in bound.bindings if one.id == wanted).keys == ["tick.#"]
    assert [(one.name, one.state) for one in killed.brokers] == [("broker-1", "down"), ("broker-2", "up")]
    assert {one.broken for one in killed.queues} == {True}
    assert not any(one.broken for one in bound.queues)


def test_purged_queue_is_empty_in_the_next_drawing(brokers: Brokers) -> None:
    counts = FixedCounts()
    before, after = states(brokers, "mosaic", counts.ready.clear, counts=counts)
    assert [
        next(q.ready for q in state.queues if q.name == "mosaic.render") for state in (before, after)
    ] == [
        17,
        0,
    ]


def test_vhost_is_read_only_while_somebody_looks(brokers: Brokers) -> None:
    counts = FixedCounts()
    watch = flow_of(brokers, counts)

    async def look() -> None:
        first, second = watch.follow("tour"), watch.follow("tour")
        await anext(first)
        await anext(second)
        asked = brokers.asked.count("/api/vhosts?columns=name")
        await first.aclose()
        assert not counts.closed, "somebody still looks"
        await second.aclose()
        assert counts.closed
        brokers.asked.clear()
        await asyncio.sleep(0.1)
        assert asked
        assert brokers.asked == []

    asyncio.run(look())


def test_unknown_vhost_and_silent_brokers_are_said(brokers: Brokers) -> None:
    (state,) = states(brokers, "nothing")
    assert state.reason == "the brokers have no vhost nothing."
    brokers.error = "the management API does not answer (no broker is up)."
    (state,) = states(brokers, "mosaic")
    assert (state.reason, state.queues, state.topology) == (brokers.error, [], None)


@pytest.mark.parametrize(
    ("name", "fold"),
    [
        ("celery_delayed_27", "delays"),
        ("celery_delayed_delivery", "delays"),
        ("celeryev.1f", "control"),
        ("render@worker-1.celery.pidbox", "control"),
        ("reply.celery.pidbox", "control"),
        ("mosaic.tail.ab", "tails"),
        ("mosaic.render", None),
        ("celery", None),
    ],
)
def test_folds(name: str, fold: str | None) -> None:
    assert fold_of(name) == fold
    assert fold is None or {fold} <= FOLDS.keys() & EXPLANATIONS.keys()


def test_counts_are_asked_as_the_monitoring_user() -> None:
    assert address(CONFIG, "a b") == "amqp://monitor:a%2Fb@127.0.0.1:5672/a%20b"
    assert CONFIG.lab == Lab(brokers=("broker-1", "broker-2"), monitor_password="a/b")
