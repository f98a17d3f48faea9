"""Heartbeats, and the states of the lab that result from them."""

from __future__ import annotations

import asyncio
import datetime
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest
from conftest import PostgresServer
from fastapi.testclient import TestClient
from mosaic import proxy_state
from mosaic.config import Broker, Config
from mosaic.gateway.lab import brokers, depths
from mosaic.gateway.lab.brokers import BrokerCheck, Line
from mosaic.gateway.lab.depths import Depth, ask_queues
from mosaic.gateway.lab.ledger import LedgerReading
from mosaic.gateway.lab.queues import queue_list
from mosaic.gateway.lab.reasons import reason
from mosaic.gateway.lab.schemas import Work
from mosaic.gateway.lab.states import (
    Rates,
    beat_state,
    broker_states,
    gateway_state,
    proxy_servers,
    worker_states,
)
from mosaic.ledger import heartbeats
from mosaic.ledger.database import transaction
from mosaic.ledger.heartbeats import BEAT, WORKER, Process, Source
from mosaic.ledger.periodic import TICK, Run
from mosaic.worker import heartbeat
from mosaic.worker.heartbeat import HeartbeatThread
from pika.exceptions import ChannelClosedByBroker

NOW = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
NOT_CONSUMING = "The workers on worker-1 do not consume all of their queues ({})."
DETAILS = {"queues": ["mosaic.render"], "concurrency": 2, "busy": 1, "started": 40, "connected": True}


def process(
    name: str, age: float = 0.5, stopped: bool = False, kind: str = WORKER, **details: Any
) -> Process:
    """Return a process that was last heard of `age` seconds ago."""
    return Process(name, kind, name.partition("@")[2], 100, NOW, age, stopped, {**DETAILS, **details})


def reading(*processes: Process, tick: Run | None = None) -> LedgerReading:
    """Return a reading of this moment."""
    runs = {TICK: tick} if tick else {}
    return LedgerReading(time.monotonic(), 0.004, list(processes), runs, Work(), 3)


def states(
    *processes: Process, hosts: tuple[str, ...] = ("worker-1",), away: str = ""
) -> dict[str, tuple[str, str]]:
    """Return state and reason of each worker host."""
    found = worker_states(hosts, reading(*processes), away, Rates())
    return {worker.host: (worker.state, worker.reason) for worker in found}


def test_a_host_that_is_not_declared_is_shown_while_it_lives() -> None:
    assert states(process("render@worker-9"))["worker-9"] == ("up", "")
    assert "worker-9" not in states(process("render@worker-9", stopped=True)), "it left the lab"
    assert "worker-9" not in states(process("render@worker-9", age=9)), "it was removed when it was dead"
    assert states(process("render@worker-9", age=9), hosts=())["worker-9"][0] == "down", "nothing is declared"


@pytest.mark.parametrize(
    ("processes", "state", "sentence"),
    [
        ([process("render@worker-1"), process("general@worker-1")], "up", ""),
        (
            [process("render@worker-1", age=2.5), process("general@worker-1", age=2.5)],
            "down",
            NOT_CONSUMING.format("no heartbeat"),
        ),
        (
            [process("render@worker-1", age=2.5), process("general@worker-1")],
            "late",
            NOT_CONSUMING.format("render: no heartbeat"),
        ),
        ([process("render@worker-1", stopped=True)], "down", NOT_CONSUMING.format("stopped")),
        (
            [process("render@worker-1", connected=False)],
            "late",
            NOT_CONSUMING.format("render: not connected to a broker"),
        ),
        ([], "down", NOT_CONSUMING.format("no heartbeat yet")),
    ],
)
def test_worker_host(processes: list[Process], state: str, sentence: str) -> None:
    assert states(*processes)["worker-1"] == (state, sentence)


def test_host_that_nobody_declared_is_shown_too() -> None:
    assert set(states(process("render@worker-9"), hosts=("worker-1",))) == {"worker-1", "worker-9"}


def test_without_the_database_a_worker_is_unknown() -> None:
    away = reason("DatabaseDown", "connection refused", host="database-1")
    assert states(process("render@worker-1"), away=away)["worker-1"] == ("unknown", away)
    assert away == "The database on database-1 does not answer (connection refused)."


def test_silence_goes_on_while_the_database_is_asked_again() -> None:
    """A reading that is two seconds old does not show the present state."""
    old = LedgerReading(time.monotonic() - 2, 0.01, [process("render@worker-1", age=0.5)], {}, Work(), 1)
    (worker,) = worker_states(("worker-1",), old, "", Rates())
    assert worker.state == "down"


def test_dead_worker_does_nothing() -> None:
    (worker,) = worker_states(("worker-1",), reading(process("render@worker-1", age=9)), "", Rates())
    assert (worker.busy, worker.rate, worker.concurrency) == (0, 0.0, 2)


def test_rate_is_over_some_seconds_and_survives_a_restart() -> None:
    rates = Rates(window=5)
    assert rates.take("a", 0, 100) == 0.0
    assert rates.take("a", 1, 110) == 10.0
    assert [rates.take("a", at, 110 + 20 * (at - 1)) for at in (2, 3, 4, 5, 6, 7)][-1] == 20.0
    assert rates.take("a", 8, 3) == 0.0
    assert rates.take("a", 9, 6) == 3.0


def test_broker_by_its_check_and_the_cluster() -> None:
    up, down = BrokerCheck("broker-1"), BrokerCheck("broker-2")
    up.take("up")
    down.take(None)
    assert down.up is None, "one late answer means nothing"
    down.take(None)
    nodes = [
        {"name": "rabbit@broker-1", "mem_alarm": True, "partitions": ["rabbit@broker-2"], "mem_used": 2**27},
        {"name": "rabbit@broker-2", "running": False},
    ]
    queues = [{"name": "a", "leader": "rabbit@broker-1"}, {"name": "b", "node": "rabbit@broker-1"}]
    first, second = broker_states([up, down], nodes, queues)
    assert first.reason.startswith(
        "broker-1 is above its memory limit, so all brokers block publishers. The cl"
    )
    assert first.reason.endswith(" do not reach each other (broker-1, broker-2).")
    assert (first.state, first.leads, first.alarms, first.partitions, first.memory_mb) == (
        "late",
        2,
        ["memory"],
        ["broker-2"],
        128,
    )
    silent = "The broker on broker-2 does not answer (its host does not answer)."
    assert (second.state, second.reason, second.leads) == ("down", silent, 0)


@pytest.mark.parametrize(
    ("proxy", "state", "words"),
    [
        (None, "unknown", "HAProxy does not answer."),
        ({"broker-1": "DOWN", "broker-2": "UP"}, "up", ""),
        ({"broker-1": "DOWN", "broker-2": "DOWN"}, "down", "The proxy on gateway-1 finds no healthy broker."),
    ],
)
def test_gateway_by_its_proxy(proxy: dict[str, str] | None, state: str, words: str) -> None:
    found = proxy and {name: {"state": one, "sessions": 0} for name, one in proxy.items()}
    shown = gateway_state("gateway-1", proxy_servers(found))
    assert (shown.state, shown.reason) == (state, words)


@pytest.mark.parametrize(
    ("processes", "tick_age", "state", "detail"),
    [
        ([process("beat@gateway-1", kind=BEAT)], 8.0, "up", ""),
        ([process("beat@gateway-1", kind=BEAT)], 80.0, "late", "none for 45 s"),
        ([process("beat@gateway-1", kind=BEAT, age=4)], 8.0, "down", "no heartbeat"),
        ([], 8.0, "down", "no heartbeat yet"),
    ],
)
def test_beat(processes: list[Process], tick_age: float, state: str, detail: str) -> None:
    tick = Run(TICK, "gateway-1", "worker-2", 42, NOW, tick_age, 0.01, "done", None)
    found = beat_state(reading(*processes, tick=tick), "")
    assert (found.state, found.reason) == (state, reason("BeatSilent", detail) if detail else "")


def test_queues_that_are_nobodys_work_are_counted() -> None:
    found = queue_list(
        [
            {"name": "celery_delayed_3", "vhost": "mosaic", "messages": 2},
            {"name": "mosaic.tail.abc", "vhost": "mosaic"},
            {
                "name": "mosaic.dead",
                "vhost": "mosaic",
                "type": "quorum",
                "messages": 4,
                "messages_ready": 4,
                "leader": "rabbit@broker-2",
                "members": ["rabbit@broker-1", "rabbit@broker-2"],
                "message_stats": {"publish_details": {"rate": 1.26}},
            },
        ],
        "",
        {"broker-2"},
        ["mosaic"],
        {},
    )
    assert (found.delays, found.delayed, found.tails, found.dead) == (1, 2, 1, 4)
    (dead,) = found.queues
    assert (dead.leader, dead.members, dead.missing) == ("broker-2", ["broker-1", "broker-2"], ["broker-1"])
    assert (dead.rate_in, dead.rate_out, dead.consumers) == (1.3, 0.0, 0)


@pytest.mark.parametrize(
    ("answer", "ready"),
    [
        pytest.param(Depth(1098, 6, 0.0), 1098, id="the statistics are behind"),
        pytest.param(Depth(0, 6, 0.0), 0, id="the queue is empty"),
        pytest.param(Depth(0, 0, 0.0), 7, id="the queue has no leader"),
        pytest.param(None, 7, id="no answer"),
    ],
)
def test_ready_messages_are_those_that_the_queue_itself_reports(answer: Depth | None, ready: int) -> None:
    document = {"name": "mosaic.render", "vhost": "mosaic", "messages_ready": 7, "consumers": 6}
    known = {("mosaic", "mosaic.render"): answer} if answer else {}
    (queue,) = queue_list([document], "", set(), ["mosaic"], known).queues
    assert queue.ready == ready


def test_queue_without_consumers_may_be_empty() -> None:
    document = {"name": "mosaic.dead", "vhost": "mosaic", "messages_ready": 7, "consumers": 0}
    (queue,) = queue_list(
        [document], "", set(), ["mosaic"], {("mosaic", "mosaic.dead"): Depth(0, 0, 0.0)}
    ).queues
    assert queue.ready == 0


def test_levels_of_delayed_delivery_are_no_queues_of_the_application() -> None:
    queues = [{"name": f"celery_delayed_{level}", "leader": "rabbit@broker-1"} for level in range(28)]
    queues += [{"name": f"mosaic.{name}", "leader": "rabbit@broker-1"} for name in ("render", "dead")]
    (broker,) = broker_states([BrokerCheck("broker-1")], [], queues)
    assert (broker.leads, broker.leads_delays) == (2, 28)


class Channel:
    """Answers passive declares: of a queue that is missing with an error that closes the channel."""

    closed = False

    def __init__(self, depths: dict[str, int]) -> None:
        self.depths = depths

    def queue_declare(self, name: str, passive: bool) -> Any:
        assert passive
        assert not self.closed
        if name not in self.depths:
            self.closed = True
            raise ChannelClosedByBroker(404, "NOT_FOUND")
        return SimpleNamespace(method=SimpleNamespace(message_count=self.depths[name], consumer_count=1))

    def close(self) -> None:
        """Close it once."""
        assert not self.closed
        self.closed = True


def test_a_missing_queue_does_not_hide_the_others() -> None:
    connection: Any = SimpleNamespace(channel=lambda: Channel({"a": 1, "c": 3}))
    assert {name: depth.ready for name, depth in ask_queues(connection, ["a", "b", "c"]).items()} == {
        "a": 1,
        "c": 3,
    }


def test_queues_are_asked_only_while_somebody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []

    def connect(*_: Any) -> Any:
        opened.append(SimpleNamespace(channel=lambda: Channel({"q": 5}), is_open=False))
        return opened[-1]

    monkeypatch.setattr(depths, "connect", connect)
    monkeypatch.setattr(depths, "PERIOD_SECONDS", 0.0)
    monkeypatch.setattr(depths, "ASKED_SECONDS", 0.3)
    broker = Broker(url="amqp://a:b@127.0.0.1:1/shop")
    watch = depths.DepthWatch("gateway-1", lambda _: broker, lambda: {"shop": ["q"]}, lambda: None)

    async def scene() -> None:
        task = asyncio.create_task(watch.run())
        await asyncio.sleep(0.25)
        assert not opened
        watch.ask()
        await asyncio.sleep(0.25)
        assert watch.depths["shop", "q"].ready == 5
        await asyncio.sleep(0.4)
        assert watch.depths == {}
        task.cancel()

    asyncio.run(scene())
    assert len(opened) == 1


HAPROXY = (
    "# pxname,svname,qcur,qmax,scur,smax,status,weight,\n"
    "brokers,broker-1,0,0,4,9,UP,1,\n"
    "brokers,broker-2,0,0,0,9,DOWN 1/2,1,\n"
    "metrics,other,0,0,0,9,UP,1,\n\n"
)


@pytest.mark.parametrize("end", range(len(HAPROXY)))
def test_an_answer_that_was_cut_off_is_read_as_far_as_it_goes(end: int) -> None:
    assert proxy_state.parse(HAPROXY[:end]).keys() <= {"broker-1", "broker-2"}


def test_sign_of_life_outlives_what_cannot_be_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    told = threading.Event()
    failures = iter([ZeroDivisionError(), AttributeError()])

    def gather() -> dict[str, Any]:
        for failure in failures:
            raise failure
        return {}

    monkeypatch.setattr(heartbeat, "PERIOD_SECONDS", 0.01)
    monkeypatch.setattr(heartbeat, "connect", lambda _: SimpleNamespace(close=lambda: None))
    monkeypatch.setattr(heartbeat.heartbeats, "renew", lambda *_: told.set())
    monkeypatch.setattr(heartbeat.heartbeats, "end", lambda *_: None)
    thread = heartbeat.HeartbeatThread("", cast(Any, None), gather)
    thread.start()
    assert told.wait(5)
    thread.stop()


def test_proxy_says_how_brokers_stand() -> None:
    assert proxy_state.parse(HAPROXY) == {
        "broker-1": {"state": "UP", "sessions": 4},
        "broker-2": {"state": "DOWN", "sessions": 0},
    }
    assert proxy_state.ask("") is None
    assert proxy_state.ask("/nonexistent/state.sock") is None


def wait_for(check: Callable[[], object], seconds: float = 5) -> None:
    """Wait until check() is true."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def processes() -> list[Process]:
    """Return who is known."""
    with transaction() as session:
        return heartbeats.read(session)


def test_signs_of_life_come_each_second_and_end_in_order(config: Config) -> None:
    thread = HeartbeatThread(
        config.database.url, Source("render@worker-1", WORKER, "worker-1", 7), lambda: dict(DETAILS)
    )
    thread.start()
    wait_for(processes)
    time.sleep(1.6)
    (one,) = processes()
    assert one.age < 1.2
    assert (one.name, one.stopped, one.details) == ("render@worker-1", False, DETAILS)
    thread.stop()
    (one,) = processes()
    assert one.stopped


def test_restarted_process_starts_anew(config: Config) -> None:
    with heartbeat.connect(config.database.url) as connection:
        heartbeats.renew(connection, Source("beat@g", BEAT, "g", 1), {})
        first = processes()[0]
        heartbeats.renew(connection, Source("beat@g", BEAT, "g", 1), {})
        assert processes()[0].started == first.started
        heartbeats.end(connection, Source("beat@g", BEAT, "g", 2))
        assert not processes()[0].stopped, "another process's end is not this one's"
        heartbeats.renew(connection, Source("beat@g", BEAT, "g", 2), {})
        assert processes()[0].started > first.started


def test_signs_go_on_after_the_connection_was_lost(config: Config, postgres_server: PostgresServer) -> None:
    thread = HeartbeatThread(config.database.url, Source("a@b", WORKER, "b", 7), dict)
    thread.start()
    wait_for(processes)
    with psycopg.connect(host=str(postgres_server.directory), user="postgres", autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE query LIKE '%INSERT INTO heartbeat%' AND pid <> pg_backend_pid()"
        )
    time.sleep(2.5)
    assert processes()[0].age < 2
    thread.stop()


def test_lab_is_shown(client: TestClient, config: Config) -> None:
    with heartbeat.connect(config.database.url) as connection:
        heartbeats.renew(connection, Source("render@worker-1", WORKER, "worker-1", 7), DETAILS)
    wait_for(lambda: client.get("/api/lab").status_code == 200 and client.get("/api/lab").json()["workers"])
    lab = client.get("/api/lab").json()
    (worker,) = lab["workers"]
    assert (worker["host"], worker["state"], worker["busy"], worker["concurrency"]) == (
        "worker-1",
        "up",
        1,
        2,
    )
    assert lab["database"]["state"] == "up"
    assert lab["beat"]["state"] == "down"
    assert lab["brokers"] == []
    assert lab["alerts"] is None


def test_the_check_of_a_broker_is_asked_over_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brokers, "ANSWER_SECONDS", 0.3)
    connect = asyncio.open_connection
    monkeypatch.setattr(asyncio, "open_connection", lambda host, port, **_tls: connect(host, port))
    opened, said = [], ["up", "up", "down: frozen", "up", "", "up"]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(writer)
        while said and (line := said.pop(0)):
            writer.write(f"{line}\n".encode())
            if line != "up" or not await reader.read(1):
                break
        if line:
            writer.close()

    async def run() -> list[str | None]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        line = Line("127.0.0.1", server.sockets[0].getsockname()[1], cast(Any, None))
        answers = [await line.ask() for _ in range(6)]
        for writer in opened:
            writer.close()
        server.close()
        return answers

    # The check closes after `down`. An empty text stands for a host that does not answer.
    assert asyncio.run(run()) == ["up", "up", "down: frozen", "up", None, "up"]
    assert len(opened) == 3


def test_only_a_changed_result_of_a_check_is_a_change() -> None:
    check = BrokerCheck("broker-1")
    answers = ["up", "up", None, "up", "down: frozen", "down: frozen", None, None]
    assert [check.take(answer) for answer in answers] == [True, False, False, False, True, False, False, True]
