"""An application's queues: quorum queues on topic exchanges where possible, and only its own queues."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from amqp.exceptions import PreconditionFailed
from celery import Celery
from celery.app.amqp import AMQP, Queues
from celery.exceptions import WorkerShutdown
from celery.utils.quorum_queues import detect_quorum_queues
from kombu import Exchange, Queue
from kombu.common import Broadcast
from scripted import Broker

from celery_durable import ConfirmWindow, make_durable, quorum_queue


def shop(**settings: Any) -> Celery:
    """A durable application with these settings."""
    app = Celery("shop", broker="amqp://u:p@127.0.0.1:1//", set_as_current=False)
    app.conf.update(settings)
    return make_durable(app)


def kind(queue: Queue) -> str | None:
    """Its x-queue-type."""
    found: str | None = (queue.queue_arguments or {}).get("x-queue-type")
    return found


def is_durable(queue: Queue) -> bool:
    """Whether it is what a worker can rely on."""
    return kind(queue) == "quorum" and bool(queue.durable) and queue.exchange.type == "topic"


def test_the_default_queue() -> None:
    queues = shop(task_default_queue="orders").amqp.queues
    assert list(queues) == ["orders"]
    assert is_durable(queues["orders"])
    assert (queues["orders"].exchange.name, queues["orders"].routing_key) == ("orders", "orders")


def test_queues_that_only_the_command_line_names() -> None:
    app = shop()
    app.amqp.queues.select(["emails", "orders"])
    assert sorted(app.amqp.queues.consume_from) == ["emails", "orders"]
    assert all(map(is_durable, app.amqp.queues.consume_from.values()))


def test_queues_of_routes() -> None:
    app = shop(task_routes={"mail.*": {"queue": "emails"}})
    assert is_durable(app.amqp.router.route({}, "mail.send")["queue"])


TOPIC = Exchange("shop", type="topic")


@pytest.mark.parametrize(
    "queues",
    [
        [Queue("orders", Exchange("shop"), routing_key="orders")],
        {"orders": {"exchange": "shop", "routing_key": "orders"}},
        {"orders": {"exchange": "shop", "exchange_type": "direct", "binding_key": "orders"}},
        [Queue("orders", TOPIC, "orders", queue_arguments={"x-queue-type": "quorum"})],
        [Queue("orders", "shop", "orders", durable=False, max_priority=5)],
        [Queue("orders", "shop", "orders", queue_arguments={"x-max-priority": 5, "x-queue-mode": "lazy"})],
    ],
    ids=["object", "mapping", "mapping of old", "quorum", "not durable", "priorities"],
)
def test_queues_that_the_application_lists(queues: Any) -> None:
    app = shop(task_queues=queues)
    queue = app.amqp.queues["orders"]
    assert is_durable(queue)
    assert (queue.exchange.name, queue.routing_key) == ("shop", "orders")
    assert queue.queue_arguments == {"x-queue-type": "quorum"}, "quorum queues refuse all others of these"
    assert queue.max_priority is None
    assert app.amqp.queues.consume_from == {"orders": queue}
    assert detect_quorum_queues(app, "amqp") == (True, "orders")


def test_other_properties_are_kept() -> None:
    arguments = {"x-dead-letter-exchange": "dead", "x-delivery-limit": 5, "x-single-active-consumer": True}
    theirs = Queue("orders", "shop", "o", alias="o", expires=60, max_length=9, queue_arguments=arguments)
    queues = shop(task_queues=[theirs]).amqp.queues
    queue = queues["orders"]
    assert queue.queue_arguments == {**arguments, "x-queue-type": "quorum"}
    assert (queue.expires, queue.max_length) == (60, 9)
    assert queues["o"] is queue


def test_priorities_of_all_queues() -> None:
    app = shop(task_queue_max_priority=10, task_queues=[Queue("orders", "shop", "orders"), CLASSIC])
    assert app.amqp.queues["orders"].queue_arguments == {"x-queue-type": "quorum"}
    assert app.amqp.queues["emails"].queue_arguments == {"x-queue-type": "quorum"}
    assert app.amqp.queues["old"].queue_arguments == {"x-queue-type": "classic", "x-max-priority": 10}


CLASSIC = Queue("old", Exchange("old"), "old", queue_arguments={"x-queue-type": "classic"})


@pytest.mark.parametrize(
    "theirs",
    [
        CLASSIC,
        Queue("log", "log", "log", queue_arguments={"x-queue-type": "stream"}),
        Queue("mine", "shop", "mine", exclusive=True),
        Queue("passing", "shop", "passing", auto_delete=True),
        Broadcast("everybody"),
    ],
    ids=["classic", "stream", "exclusive", "auto-delete", "broadcast"],
)
def test_queues_that_stay_as_they_are(theirs: Queue) -> None:
    arguments = dict(theirs.queue_arguments or {})
    queue = shop(task_queues=[theirs]).amqp.queues[theirs.name]
    assert queue is theirs
    assert (queue.queue_arguments or {}) == arguments


def test_a_classic_queue_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    _ = shop(task_queues=[CLASSIC]).amqp.queues
    assert "the queue old is classic: its tasks are lost with its broker" in caplog.text


def test_two_applications_may_have_the_same_queue_object() -> None:
    exchange = Exchange("shop", type="direct")
    theirs = Queue("orders", exchange, "orders", queue_arguments={"x-max-priority": 5})
    plain = Celery("plain", set_as_current=False)
    plain.conf.task_queues = [theirs]
    durable = shop(task_queues=[theirs])
    assert is_durable(durable.amqp.queues["orders"])
    assert plain.amqp.queues["orders"] is theirs
    assert (theirs.queue_arguments, exchange.type) == ({"x-max-priority": 5}, "direct")


def test_queues_without_a_routing_key_get_their_own_tasks_only() -> None:
    """Celery publishes past a direct exchange; on a topic exchange one key for all would double each task."""
    app = shop(task_queues=[Queue("a"), Queue("b"), Queue("c", Exchange("shop"))])
    found = {queue.name: (queue.exchange.name, queue.routing_key) for queue in app.amqp.queues.values()}
    assert found == {"a": ("celery", "a"), "b": ("celery", "b"), "c": ("shop", "c")}


def test_queues_that_would_get_the_same_tasks_are_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    exchange = Exchange("shop")
    _ = shop(task_queues=[Queue(name, exchange, "all") for name in ("a", "b")]).amqp.queues
    assert "the queues a and b have the same exchange and routing key" in caplog.text


def test_what_the_application_says_of_its_queues_is_respected(caplog: pytest.LogCaptureFixture) -> None:
    app = shop(
        task_default_queue_type="classic",
        task_default_exchange_type="direct",
        task_create_missing_queue_type="classic",
        task_create_missing_queue_exchange_type="direct",
    )
    assert kind(app.amqp.queues["celery"]) == "classic"
    assert kind(app.amqp.queues["emails"]) is None
    assert app.amqp.queues["celery"].exchange.type == "direct"
    assert app.amqp.queues["emails"].exchange.type == "direct"
    assert caplog.text.count("task_default_queue_type = 'classic'") == 1


def test_an_exchange_of_the_application_for_all_queues() -> None:
    for queues in ([Queue("celery")], [Queue("celery", Exchange("celery"), "celery")], None):
        queue = shop(task_default_exchange_type="direct", task_queues=queues).amqp.queues["celery"]
        assert queue.exchange == Exchange("celery", type="direct")
        assert kind(queue) == "quorum"


def test_predeclared_exchanges_keep_their_type() -> None:
    app = shop(task_queues=[Queue("orders", Exchange("amq.direct"), "orders")])
    assert app.amqp.queues["orders"].exchange.type == "direct"


def test_a_queue_in_the_way_ends_the_worker(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def consume(*_: Any, **__: Any) -> None:
        raise PreconditionFailed("inequivalent arg 'x-queue-type' for queue 'celery'", (50, 10))

    monkeypatch.setattr(AMQP, "TaskConsumer", consume)
    with pytest.raises(WorkerShutdown) as caught:
        shop().amqp.TaskConsumer("a connection")
    assert caught.value.code == 78
    assert "rabbitmqctl delete_queue NAME" in caplog.text


def test_no_missing_queues() -> None:
    app = shop(task_create_missing_queues=False)
    with pytest.raises(KeyError):
        app.amqp.queues["emails"]


def test_queues_that_are_added_later() -> None:
    app = shop()
    assert is_durable(app.amqp.queues.add(Queue("orders", "shop", "orders")))
    assert is_durable(app.amqp.queues.add("emails", exchange="shop", routing_key="emails"))
    assert is_durable(app.amqp.queues.select_add("more", exchange="shop", routing_key="more"))
    assert is_durable(app.amqp.queues.consume_from["more"])


def test_a_queue_that_only_a_call_knows(app: Celery, broker: Broker) -> None:
    with ConfirmWindow(app) as window:
        app.send_task("add", task_id="1", producer=window, queue=Queue("new", Exchange("shop"), "new"))
    assert broker.connections[0]._channel.declared == {"new": {"x-queue-type": "quorum"}}


def test_an_application_with_classes_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    class MyQueues(Queues):
        mine = True

    class MyAMQP(AMQP):
        queues_cls = MyQueues
        mine = True

    app = Celery("shop", amqp=MyAMQP, set_as_current=False)
    used_before = app.amqp.queues
    make_durable(app)
    assert isinstance(app.amqp, MyAMQP)
    assert isinstance(app.amqp.queues, MyQueues)
    assert app.amqp.queues is not used_before
    assert is_durable(app.amqp.queues["celery"])


def test_a_queue_by_hand() -> None:
    queue = quorum_queue("orders", TOPIC, "orders", expires=60)
    assert is_durable(queue)
    assert queue.expires == 60


@pytest.fixture(autouse=True)
def _warnings(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
