"""The settings that prevent lost tasks: value, reason, and what happens without it.

The application's own settings have precedence. Figures: three RabbitMQ 4.0 brokers, Celery 5.7, 40 tasks/s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from amqp.exceptions import MessageNacked
from celery import Celery
from celery.app.defaults import DEFAULTS
from celery.app.utils import Settings

HEARTBEAT_SECONDS = 10


@dataclass(frozen=True)
class Setting:
    """One setting of Celery.

    `value` is a value, or a function of the application's configuration. A mapping is merged with the
    application's own mapping, key by key. `loses` contains the values with which tasks are lost.
    """

    name: str
    value: Any
    why: str
    without: str
    loses: tuple[Any, ...] = ()


def _heartbeat(conf: Settings) -> int:
    return int(own_settings(conf).get("broker_heartbeat") or HEARTBEAT_SECONDS)


def _transport_options(conf: Settings) -> dict[str, Any]:
    # Shorter than two heartbeats, after which the broker delivers this connection's tasks to other workers.
    return {"confirm_publish": True, "read_timeout": max(2, _heartbeat(conf) * 2 // 3)}


def _soft_shutdown(conf: Settings) -> float:
    # The worker waits all this time and sends no heartbeat.
    return min(4.0, 1.5 * _heartbeat(conf))


def _engine_options(conf: Settings) -> dict[str, Any]:
    if str(conf.result_backend).startswith(("db+postgresql://", "db+postgresql+psycopg")):
        return {"connect_args": POSTGRESQL_CONNECT_ARGUMENTS}
    return {}


# For libpq, in seconds, the last one in milliseconds: a lost database host is detected within 15 s.
POSTGRESQL_CONNECT_ARGUMENTS = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15000,
}

# 33 s in total: longer than the election of a queue's leader (1 to 9 s), and short enough for a waiting user.
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
        "Running and prefetched tasks of a host that dies are lost: 48 of 7389 tasks when one lost power.",
        loses=(False,),
    ),
    Setting(
        "task_reject_on_worker_lost",
        True,
        "A task whose pool process died returns to the queue.",
        "It is acknowledged in spite of `task_acks_late`: each killed process loses a task.",
        loses=(False, None),
    ),
    Setting(
        "broker_transport_options",
        _transport_options,
        "`confirm_publish`: publishing returns when a majority of the brokers has the task. `read_timeout`: "
        "how long to wait for an answer of the broker, in seconds.",
        "Tasks on their way to a broker that dies are lost without an error: 308 of 4150 tasks when one "
        "froze. With confirms but without the timeout, a producer hangs for more than 60 s.",
    ),
    Setting(
        "task_publish_retry",
        True,
        "Publishing is tried again after a lost connection.",
        "Each fail-over of a broker raises an exception in the producer.",
        loses=(False,),
    ),
    Setting(
        "task_publish_retry_policy",
        PUBLISH_RETRY_POLICY,
        "Retries for half a minute after a lost connection, and 20 times if the broker refuses a task.",
        "Celery gives up within a second; electing a queue's leader takes 1 to 9 s.",
    ),
    Setting(
        "task_default_queue_type",
        "quorum",
        "A majority of the brokers has each task.",
        "A classic queue is lost with its broker: 2418 of 3673 tasks when one broker lost power.",
        loses=("classic",),
    ),
    Setting(
        "task_create_missing_queue_type",
        "quorum",
        "The same for queues that are only in `-Q`, a route or `queue=`.",
        "The same.",
        loses=("classic",),
    ),
    Setting(
        "task_default_exchange_type",
        "topic",
        "Tasks with a countdown wait on the broker, which needs a topic exchange.",
        "They wait in a worker's memory, and count for its prefetch limit until they are due.",
    ),
    Setting(
        "task_create_missing_queue_exchange_type",
        "topic",
        "The same for queues that are only in `-Q`, a route or `queue=`.",
        "The same.",
    ),
    Setting(
        "broker_native_delayed_delivery_queue_type",
        "quorum",
        "Tasks with a countdown wait in quorum queues too.",
        "They are lost with a broker.",
        loses=("classic",),
    ),
    Setting(
        "broker_heartbeat",
        HEARTBEAT_SECONDS,
        "Seconds. A lost host is detected after two or three of them.",
        "With Celery's 120 s, the tasks of a host that lost power wait for 4 to 6 minutes.",
    ),
    Setting(
        "broker_connection_retry_on_startup",
        True,
        "A worker that starts before its broker waits for it.",
        "Celery warns at each start that a later version will not wait.",
    ),
    Setting(
        "broker_connection_max_retries",
        None,
        "A worker tries to connect without a limit.",
        "It exits after 100 attempts, and does not consume when the broker is available again.",
    ),
    Setting(
        "broker_channel_error_retry",
        True,
        "A worker continues after a channel error, e.g. when its lost connection locks a queue (405).",
        "It exits: 12 restarts in 90 s after a power failure.",
    ),
    Setting(
        "worker_cancel_long_running_tasks_on_connection_loss",
        True,
        "A task is cancelled when the connection is lost: the broker delivers it to another worker.",
        "It runs twice at the same time, and its process cannot run another task meanwhile.",
    ),
    Setting(
        "worker_soft_shutdown_timeout",
        _soft_shutdown,
        "Seconds for running tasks to finish when the worker is stopped at once (SIGQUIT).",
        "Each restart interrupts the tasks that run; they run again.",
    ),
    Setting(
        "worker_proc_alive_timeout",
        30.0,
        "Seconds for a pool process to start.",
        "On a busy host the worker kills its processes after 4 s, before they have started.",
    ),
    Setting(
        "worker_enable_remote_control",
        False,
        "No exclusive queue for each worker. `make_durable(app, remote_control=True)` keeps it.",
        "The worker's lost connection locks this queue: a host stopped for 6.4 s after a broker froze, for "
        "2.8 s without the queue.",
    ),
    Setting(
        "database_engine_options",
        _engine_options,
        "With results in PostgreSQL: a lost database host is detected within 15 s.",
        "A worker waits for up to 15 minutes, until TCP gives up.",
    ),
    Setting(
        "worker_consumer",
        "celery_durable.consumer:DurableConsumer",
        "Declares the queues of delayed delivery when a worker starts, not at each reconnect. Rejects "
        "messages that cannot be decoded.",
        "A host stopped for 9.9 s after a broker froze, for 0.7 s with it (worst of five). A message that "
        "cannot be decoded is acknowledged, so it is lost.",
    ),
)
_BY_NAME = {setting.name: setting for setting in SETTINGS}


def apply(conf: Settings, *, remote_control: bool = False) -> None:
    """Add SETTINGS to `conf` as defaults; add missing keys to the application's mappings."""
    view: Any = conf
    defaults: dict[str, Any] = view.maps[-1]  # Celery's own, a copy for each application
    for setting in SETTINGS:
        if setting.name == "worker_enable_remote_control" and remote_control:
            continue
        value = setting.value(conf) if callable(setting.value) else setting.value
        # If the application uses Celery's old names, the defaults have these too.
        name = setting.name if setting.name in defaults else view._keys[1](setting.name)
        if isinstance(value, Mapping):
            value = _merged(DEFAULTS[setting.name], value)
            own = own_settings(conf).get(setting.name)
            if own:
                # Under each name, because Celery 5.6 prefers the one with a namespace.
                view.update(dict.fromkeys(view._to_keys(setting.name), _merged(value, own)))
        defaults[name] = value


def own_settings(conf: Settings) -> Settings:
    """Return a view of the application's own settings, by any name of a setting."""
    view: Any = conf
    return Settings({}, view.maps[:-1], view._keys, view.prefix)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(below.get(key), Mapping)
        merged[key] = _merged(below[key], value) if both else value
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
    """Return a sentence for each task whose options can lose it."""
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
