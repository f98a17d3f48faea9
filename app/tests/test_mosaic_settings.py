"""Topology and settings: they prevent lost tasks, and are the same everywhere."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
import yaml
from celery import Celery
from celery.app.defaults import DEFAULTS
from celery.exceptions import QueueNotFound
from celery.worker.consumer.control import Control
from celery_durable.settings import SETTINGS, losing_settings, losing_tasks
from kombu import Queue
from kombu.exceptions import ContentDisallowed
from kombu.serialization import dumps, loads, prepare_accept_content
from mosaic import topology
from mosaic.celery import create_app
from mosaic.config import Broker, Config, Database
from mosaic.settings import celery_settings

CONFIG = Config(
    host="worker-1",
    broker=Broker(url="amqp://u:p@127.0.0.1:1/mosaic"),
    database=Database(url="postgresql+psycopg://u@/mosaic"),
)
QUEUES = (*topology.task_queues("worker-1"), *topology.plain_queues())


@pytest.mark.parametrize("queue", QUEUES, ids=lambda queue: queue.name)
def test_every_queue_is_a_durable_quorum_queue_on_a_topic_exchange(queue: Queue) -> None:
    assert queue.queue_arguments == {"x-queue-type": "quorum"}
    assert queue.durable
    assert not queue.exclusive
    assert not queue.auto_delete
    assert queue.exchange.type == "topic"
    assert queue.exchange.durable


def test_queue_names_are_those_of_the_contract() -> None:
    assert [queue.name for queue in QUEUES] == [
        "mosaic.render",
        "mosaic.scale",
        "mosaic.digest",
        "mosaic.long",
        "mosaic.upkeep",
        "mosaic.drill",
        "mosaic.host.worker-1",
        "mosaic.logs",
        "mosaic.dead",
    ]


def declared(file: str) -> Any:
    """Return the variables of a YAML file of the project."""
    return yaml.safe_load((Path(__file__).parents[2] / file).read_text(encoding="utf-8"))


def test_every_task_queue_is_consumed_by_one_instance_of_each_worker_host() -> None:
    applications = declared("playbooks/group_vars/all.yml")["lab_applications"]
    (instances,) = (entry["workers"] for entry in applications if entry["name"] == "mosaic")
    consumed = [queue.replace("%H", "worker-1") for instance in instances for queue in instance["queues"]]
    assert sorted(consumed) == sorted(queue.name for queue in topology.task_queues("worker-1"))
    long = next(instance for instance in instances if "mosaic.long" in instance["queues"])
    assert long["queues"] == ["mosaic.long"], "it would delay other work for minutes"
    assert (long["concurrency"], long["prefetch"]) == (1, 1)


def test_no_broker_takes_a_task_away_within_its_time_limit() -> None:
    timeout = declared("roles/rabbitmq/defaults/main.yml")["rabbitmq_consumer_timeout"] / 1000
    limits = [task.time_limit for task in _loaded().tasks.values()]
    assert max(filter(None, limits)) + 60 < timeout


def test_only_the_queue_of_a_host_expires() -> None:
    expiring = {queue.name: queue.as_dict()["expires"] for queue in QUEUES if queue.as_dict()["expires"]}
    assert expiring == {"mosaic.host.worker-1": 3600}


def test_two_hosts_differ_in_their_own_queue_only() -> None:
    other = CONFIG.model_copy(update={"host": "gateway-1"})
    here, there = celery_settings(CONFIG), celery_settings(other)
    assert [q.name for q in here.pop("task_queues")[:-1]] == [q.name for q in there.pop("task_queues")[:-1]]
    assert here == there


def test_settings_know_no_unknown_name() -> None:
    assert [name for name in celery_settings(CONFIG) if name not in DEFAULTS] == []


def test_what_keeps_tasks_is_left_to_the_library() -> None:
    ours = set(celery_settings(CONFIG)) & {setting.name for setting in SETTINGS}
    assert ours == {"broker_heartbeat"}
    app = _loaded()
    assert losing_settings(app.conf) == []
    assert losing_tasks(app) == []
    assert app.conf.task_acks_late


def test_any_task_survives_its_worker_unless_it_says_otherwise() -> None:
    @create_app(CONFIG).task(name="some.task", shared=False)
    def task() -> None:
        """Do nothing."""

    assert (task.acks_late, task.reject_on_worker_lost, task.ignore_result) == (True, True, True)


def test_a_queue_that_nobody_declared_is_refused() -> None:
    with pytest.raises(QueueNotFound):
        create_app(CONFIG).amqp.router.route({"queue": "mosaic.rendre"}, "mosaic.render.tile")


@pytest.mark.parametrize("what", ["accept_content", "result_accept_content"])
def test_pickle_is_refused(what: str) -> None:
    accepted = prepare_accept_content(create_app(CONFIG).conf[what])
    content_type, encoding, content = dumps({"a": 1}, serializer="json")
    assert loads(content, content_type, encoding, accept=accepted) == {"a": 1}
    with pytest.raises(ContentDisallowed):
        loads(pickle.dumps({"a": 1}), "application/x-python-serialize", "binary", accept=accepted)


def test_publishing_waits_for_confirms_and_not_longer_than_for_a_dead_broker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kombu.transport.pyamqp.Connection.connect", lambda _: None)
    made = create_app(CONFIG).connection_for_write().transport.establish_connection()
    assert made.confirm_publish
    assert 2 <= made.read_timeout < CONFIG.broker.heartbeat


def test_workers_declare_no_queue_of_their_own_for_remote_control() -> None:
    consumer = MagicMock(app=create_app(CONFIG))
    assert not Control(consumer).include_if(consumer)


@pytest.mark.parametrize("heartbeat", [2, 3, 60])
def test_a_worker_that_shuts_down_is_not_taken_for_dead(heartbeat: int) -> None:
    broker = CONFIG.broker.model_copy(update={"heartbeat": heartbeat})
    conf = create_app(CONFIG.model_copy(update={"broker": broker})).conf
    assert 0 < conf.worker_soft_shutdown_timeout < 2 * heartbeat


def test_publishing_outlasts_an_election() -> None:
    policy = create_app(CONFIG).conf.task_publish_retry_policy
    waits = [
        min(policy["interval_max"], policy["interval_start"] + policy["interval_step"] * attempt)
        for attempt in range(policy["max_retries"])
    ]
    assert 20 < sum(waits) < 60


def _loaded() -> Celery:
    app = create_app(CONFIG)
    app.loader.import_default_modules()
    return app


def test_every_task_has_a_queue_and_survives_its_worker() -> None:
    app = _loaded()
    ours = {name: task for name, task in app.tasks.items() if name.startswith("mosaic.")}
    assert sorted(ours) == [
        "mosaic.digest.merge",
        "mosaic.digest.shard",
        "mosaic.drill.held",
        "mosaic.drill.hog",
        "mosaic.drill.poison",
        "mosaic.drill.work",
        "mosaic.primes.count",
        "mosaic.primes.sum",
        "mosaic.probe",
        "mosaic.render.tile",
        "mosaic.scale.sheet",
        "mosaic.scale.size",
        "mosaic.upkeep.purge",
        "mosaic.upkeep.sweep",
        "mosaic.upkeep.tick",
    ]
    for name, task in ours.items():
        assert task.acks_late, name
        assert task.reject_on_worker_lost, name
        queue = app.amqp.router.route({}, name)["queue"].name
        family = name.split(".")[1]
        other = {"probe": "mosaic.upkeep", "primes": "mosaic.long"}
        assert queue == other.get(family, f"mosaic.{family}")


def test_celerys_own_tasks_are_routed_to_a_declared_queue() -> None:
    app = _loaded()
    for name in ("celery.backend_cleanup", "celery.chord_unlock"):
        assert app.amqp.router.route({}, name)["queue"].name == "mosaic.upkeep"


def test_schedule_names_tasks_that_exist_in_whole_seconds() -> None:
    app = _loaded()
    for entry in app.conf.beat_schedule.values():
        assert entry["task"] in app.tasks
        assert entry["schedule"] >= 1
        assert entry["options"]["expires"] > entry["schedule"]
    json.dumps(app.conf.beat_schedule)


def test_what_expires_is_dropped_by_the_worker_and_no_dead_letter() -> None:
    app = create_app(CONFIG)
    with app.connection_for_write("memory://") as connection:
        queue = app.amqp.queues["mosaic.upkeep"](connection.channel())
        queue.declare()
        app.send_task("mosaic.upkeep.tick", connection=connection, expires=30.0)
        message = queue.get()
    assert message.headers["expires"]
    assert "expiration" not in message.properties
