"""The settings that keep tasks: for each its value, why, and what happens without it.

They are applied below what the application itself has set. Figures: three RabbitMQ 4.0 brokers, Celery 5.7,
two cores; docs/reliability.md of Warren has the runs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from amqp.exceptions import MessageNacked
from celery import Celery
from celery.app.utils import Settings

logger = logging.getLogger("celery_durable")

HEARTBEAT_SECONDS = 10
_CONNECT_SECONDS = 4


@dataclass(frozen=True)
class Setting:
    """One setting of Celery.

    `value` is what is applied: a value, or a function of the application's configuration. A mapping is merged
    with the application's own, key by key. `loses` names values with which tasks are lost.
    """

    name: str
    value: Any
    why: str
    without: str
    loses: tuple[Any, ...] = ()


def _heartbeat(conf: Settings) -> int:
    return int(own_settings(conf).get("broker_heartbeat") or HEARTBEAT_SECONDS)


def _transport_options(conf: Settings) -> dict[str, Any]:
    # Below two heartbeats: by then the broker has given the tasks of this connection to others.
    return {"confirm_publish": True, "read_timeout": max(2, _heartbeat(conf) * 2 // 3)}


def _soft_shutdown(conf: Settings) -> float:
    # The worker waits through it whole, and sends no heartbeat meanwhile.
    return min(4.0, 1.5 * _heartbeat(conf))


def _engine_options(conf: Settings) -> dict[str, Any]:
    options: dict[str, Any] = {"pool_pre_ping": True, "pool_recycle": 3600}
    if str(conf.result_backend).startswith(("db+postgresql://", "db+postgresql+psycopg")):
        options["connect_args"] = POSTGRESQL_CONNECT_ARGUMENTS
    return options


# Times of libpq in seconds, the last one in milliseconds: a database host that is gone is noticed in 15 s.
POSTGRESQL_CONNECT_ARGUMENTS = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15000,
}

# 36 s in all: longer than the election of a queue's leader (1 to 5 s), shorter than a person's patience.
PUBLISH_RETRY_POLICY = {
    "max_retries": 20,
    "interval_start": 0.1,
    "interval_step": 0.3,
    "interval_max": 2.0,
    "retry_errors": (MessageNacked,),
}

SETTINGS = (
    Setting(
        "task_acks_late",
        True,
        "A task is acknowledged after it ran, not before.",
        "A task that was running or prefetched on a host that dies is lost.",
        loses=(False,),
    ),
    Setting(
        "task_reject_on_worker_lost",
        True,
        "A task whose pool process died goes back to the queue.",
        "Late acknowledgement alone still acknowledges it: lost.",
        loses=(False,),
    ),
    Setting(
        "broker_transport_options",
        _transport_options,
        "`confirm_publish`: publishing returns when the broker has the message on its disks. "
        "`read_timeout` ends the wait for an answer of a broker that is frozen.",
        "Messages on their way to a broker that dies are lost, and nothing raises. Without the timeout a "
        "publisher hangs for more than 60 s.",
    ),
    Setting(
        "task_publish_retry",
        True,
        "Publishing is tried again after a lost connection.",
        "Each fail-over of a broker is an exception in the producer.",
        loses=(False,),
    ),
    Setting(
        "task_publish_retry_policy",
        PUBLISH_RETRY_POLICY,
        "Retries for 36 s, and also when the broker refuses a message (`MessageNacked`).",
        "Celery's own 1 s is shorter than the election of a queue's leader: the task was never published.",
    ),
    Setting(
        "task_default_queue_type",
        "quorum",
        "Messages are on a majority of the brokers before they are confirmed.",
        "A classic queue goes with its broker: 2377 of 3653 tasks were lost when one was powered off.",
        loses=("classic",),
    ),
    Setting(
        "task_create_missing_queue_type",
        "quorum",
        "The same for queues that are named by `-Q` or `apply_async(queue=...)` alone.",
        "These queues are classic.",
        loses=("classic",),
    ),
    Setting(
        "task_default_exchange_type",
        "topic",
        "Delays of quorum queues (countdown, eta, retries) need a topic exchange.",
        "A delayed task blocks a worker's prefetch until its time has come.",
    ),
    Setting(
        "task_create_missing_queue_exchange_type",
        "topic",
        "The same for queues that are named by `-Q` or `apply_async(queue=...)` alone.",
        "A delayed task blocks a worker's prefetch until its time has come.",
    ),
    Setting(
        "broker_native_delayed_delivery_queue_type",
        "quorum",
        "Delayed tasks wait in quorum queues too.",
        "Delayed tasks are lost with a broker.",
        loses=("classic",),
    ),
    Setting(
        "worker_detect_quorum_queues",
        True,
        "The worker sets its prefetch per consumer, as quorum queues demand.",
        "The broker refuses the worker's prefetch, and the worker does not start.",
    ),
    Setting(
        "broker_heartbeat",
        HEARTBEAT_SECONDS,
        "Seconds between heartbeats: a dead connection is noticed after two.",
        "With Celery's 120 s the tasks of a host that lost its power wait for up to 4 minutes.",
    ),
    Setting(
        "broker_connection_timeout",
        _CONNECT_SECONDS,
        "Seconds for one attempt to connect.",
        "Retries wait longer at a host that is gone.",
    ),
    Setting(
        "broker_connection_retry_on_startup",
        True,
        "A worker that starts before its broker waits for it.",
        "The worker exits.",
    ),
    Setting(
        "broker_connection_max_retries",
        None,
        "A worker tries to reconnect for as long as it takes.",
        "The worker exits after 100 attempts: nobody consumes when the broker is back.",
    ),
    Setting(
        "broker_channel_error_retry",
        True,
        "A worker that restarts while its old connection is still open gets a channel error (405) and "
        "tries again.",
        "The worker exits with status 1: 12 restarts in 90 s after a power cut.",
    ),
    Setting(
        "worker_cancel_long_running_tasks_on_connection_loss",
        True,
        "A task whose connection is lost cannot be acknowledged any more: it is ended, and another worker "
        "runs it.",
        "It runs twice at the same time, and its worker takes no other task meanwhile.",
    ),
    Setting(
        "worker_soft_shutdown_timeout",
        _soft_shutdown,
        "Seconds that running tasks get to finish when the worker is told to stop.",
        "Each restart of a worker interrupts its tasks; they run again.",
    ),
    Setting(
        "worker_proc_alive_timeout",
        30.0,
        "Seconds for a pool process to start.",
        "On a busy host the worker kills its processes (4 s) before they are up.",
    ),
    Setting(
        "worker_enable_remote_control",
        False,
        "Remote control keeps an exclusive queue for each worker, which is locked while an old connection "
        "hangs. `make_durable(app, remote_control=True)` keeps it.",
        "After a broker froze the worker waits for that queue: RESOURCE_LOCKED, again and again.",
    ),
    Setting("task_serializer", "json", "Arguments are data.", "With pickle, who can publish can run code."),
    Setting(
        "accept_content", ["json"], "Workers accept data only.", "With pickle, who can publish can run code."
    ),
    Setting(
        "result_serializer", "json", "Results are data.", "With pickle, who can write results can run code."
    ),
    Setting(
        "result_accept_content",
        ["json"],
        "Results are data.",
        "With pickle, who can write results can run code.",
    ),
    Setting(
        "database_engine_options",
        _engine_options,
        "A database that is gone is noticed in seconds.",
        "A worker hangs in a connection to a dead database for up to 15 minutes.",
    ),
    Setting(
        "worker_consumer",
        "celery_durable.consumer:DurableConsumer",
        "Declares the queues of delayed delivery once, not at each reconnect.",
        "After a broker froze the worker stands still for 5 s.",
    ),
)
_BY_NAME = {setting.name: setting for setting in SETTINGS}


def settings_for(conf: Settings, *, remote_control: bool = False) -> dict[str, Any]:
    """Return what is to be set in `conf`: what the application left open, its mappings completed."""
    own = own_settings(conf)
    found: dict[str, Any] = {}
    for setting in SETTINGS:
        if setting.name == "worker_enable_remote_control" and remote_control:
            continue
        is_set = setting.name in own
        value = setting.value(conf) if callable(setting.value) else setting.value
        if isinstance(value, Mapping):
            found[setting.name] = _merged(value, conf[setting.name] if is_set else {})
        elif not is_set:
            found[setting.name] = value
    return found


def own_settings(conf: Settings) -> Settings:
    """Return a view of what the application set itself, by whichever of a setting's names."""
    view: Any = conf
    return Settings({}, view.maps[:-1], view._keys, view.prefix)


def _merged(ours: Mapping[str, Any], theirs: Mapping[str, Any] | None) -> dict[str, Any]:
    merged = dict(ours)
    for key, value in (theirs or {}).items():
        both = isinstance(value, Mapping) and isinstance(ours.get(key), Mapping)
        merged[key] = _merged(ours[key], value) if both else value
    return merged


def losing_settings(conf: Settings) -> list[str]:
    """Return a sentence for each setting of the application with which tasks are lost."""
    found = [
        f"{setting.name} = {conf[setting.name]!r}: {setting.without}"
        for setting in SETTINGS
        if setting.loses and conf[setting.name] in setting.loses
    ]
    if not conf.broker_transport_options.get("confirm_publish"):
        setting = _BY_NAME["broker_transport_options"]
        found.append(f"broker_transport_options['confirm_publish'] is off: {setting.without}")
    return found


def losing_tasks(app: Celery) -> list[str]:
    """Return a sentence for each task whose own options lose it."""
    checks: dict[str, Callable[[Any], bool]] = {
        "acks_late": lambda task: not task.acks_late,
        "reject_on_worker_lost": lambda task: task.acks_late and not task.reject_on_worker_lost,
    }
    return [
        f"the task {name} has {option}=False: {_BY_NAME[f'task_{option}'].without}"
        for name, task in sorted(app.tasks.items())
        for option, loses in checks.items()
        if not name.startswith("celery.") and loses(task)
    ]
