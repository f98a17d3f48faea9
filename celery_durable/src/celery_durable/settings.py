"""The settings that prevent lost tasks: value, reason, and what happens without it.

The application's own settings have precedence. Figures: three RabbitMQ 4.0 brokers, Celery 5.7, 40 tasks/s;
docs/measurements/2026-11-reliability.md has the runs. `./lab audit` loads this file alone, with the Celery of
the application, which may be older. So this file imports nothing of this package.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from amqp.exceptions import MessageNacked
from celery import Celery
from celery.app.defaults import DEFAULTS
from celery.app.utils import Settings

HEARTBEAT_SECONDS = 10
ELECTION_SECONDS = 9  # the longest election of a queue's leader

Judge = Callable[[Any], bool]


@dataclass(frozen=True)
class Setting:
    """One setting of Celery.

    `value` is a value, or a function of the application's configuration. A mapping is merged with the
    application's own mapping, key by key. `drills` are the drills that show what happens without the setting;
    `without` has their figures. `loses` returns whether tasks are lost with a value. `enough` returns whether
    another value has the same effect; without it, only an equal value or a mapping with the same keys has.
    """

    name: str
    value: Any
    why: str
    without: str
    drills: tuple[str, ...] = ()
    loses: Judge = lambda _value: False
    enough: Judge | None = None

    def wanted(self, conf: Settings) -> Any:
        """Return the value for an application with this configuration."""
        return self.value(conf) if callable(self.value) else self.value

    def suffices(self, conf: Settings) -> bool:
        """Return whether the value in `conf`, the application's own or from `apply`, is enough."""
        value, wanted = conf[self.name], self.wanted(conf)
        if self.enough:
            return self.enough(value)
        return set(wanted) <= set(value or ()) if isinstance(wanted, Mapping) else bool(value == wanted)


def _one_of(*values: Any) -> Judge:
    return lambda value: value in values


def _patience(policy: Mapping[str, Any] | None) -> float:
    """Return the seconds for which publishing is tried again with a retry policy."""
    policy = {**DEFAULTS["task_publish_retry_policy"], **(policy or {})}
    if policy["max_retries"] is None:
        return float("inf")
    steps = range(policy["max_retries"])
    start, step, most = (float(policy[f"interval_{name}"]) for name in ("start", "step", "max"))
    return sum(min(start + step * number, most) for number in steps)


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

_CLASSIC = "A classic queue is lost with its broker: 2418 of 3673 tasks when one broker lost power."
_DIRECT = (
    "Tasks with a countdown wait in a worker's memory, and count for its prefetch limit until they are due."
)

SETTINGS = (
    Setting(
        "task_acks_late",
        True,
        "A task is acknowledged after it ran, not before.",
        "Running and prefetched tasks of a host that dies are lost: 48 of 7389 tasks when one lost power.",
        drills=("power-off-worker", "kill-worker"),
        loses=_one_of(False),
    ),
    Setting(
        "task_reject_on_worker_lost",
        True,
        "A task whose pool process died returns to the queue.",
        "A task whose pool process died is acknowledged in spite of `task_acks_late`: each killed process "
        "loses a task, as without `task_acks_late` (5 of 2842 tasks in five rounds).",
        drills=("kill-pool-child", "poison-task"),
        loses=_one_of(False, None),
    ),
    Setting(
        "broker_transport_options",
        _transport_options,
        "`confirm_publish`: publishing returns when a majority of the brokers has the task. `read_timeout`: "
        "how long to wait for an answer of the broker, in seconds.",
        "Tasks on their way to a broker that dies are lost without an error: 34 of 676 tasks when one lost "
        "power, 308 of 4150 tasks when one froze. With confirms but without the timeout, a producer hangs "
        "for more than 60 s.",
        drills=("power-off-broker-leader", "freeze-broker-leader", "memory-alarm", "disk-alarm"),
        loses=lambda value: not value.get("confirm_publish"),
        enough=lambda value: bool(value.get("confirm_publish") and value.get("read_timeout")),
    ),
    Setting(
        "task_publish_retry",
        True,
        "Publishing is tried again after a lost connection.",
        "Each fail-over of a broker raises an exception in the producer.",
        loses=_one_of(False),
    ),
    Setting(
        "task_publish_retry_policy",
        PUBLISH_RETRY_POLICY,
        "Retries for half a minute after a lost connection, and 20 times if the broker refuses a task.",
        "Celery gives up within a second; electing a queue's leader takes 1 to 9 s.",
        enough=lambda value: _patience(value) > ELECTION_SECONDS,
    ),
    Setting(
        "task_default_queue_type",
        "quorum",
        "A majority of the brokers has each task.",
        _CLASSIC,
        drills=("power-off-broker-leader",),
        loses=_one_of("classic"),
    ),
    Setting(
        "task_create_missing_queue_type",
        "quorum",
        "The same for queues that are only in `-Q`, a route or `queue=`.",
        _CLASSIC,
        drills=("power-off-broker-leader",),
        loses=_one_of("classic"),
    ),
    Setting(
        "task_default_exchange_type",
        "topic",
        "Tasks with a countdown wait on the broker, which needs a topic exchange.",
        _DIRECT,
    ),
    Setting(
        "task_create_missing_queue_exchange_type",
        "topic",
        "The same for queues that are only in `-Q`, a route or `queue=`.",
        _DIRECT,
    ),
    Setting(
        "broker_native_delayed_delivery_queue_type",
        "quorum",
        "Tasks with a countdown wait in quorum queues too.",
        "Tasks with a countdown are lost with a broker.",
        loses=_one_of("classic"),
    ),
    Setting(
        "broker_heartbeat",
        HEARTBEAT_SECONDS,
        "Seconds. A lost host is detected after two or three of them.",
        "With Celery's 120 s, the tasks of a host that lost power wait for 4 to 6 minutes. With 2 s, one ran "
        "on another host after 6.6 s; with 3 s, after 10.4 s.",
        drills=("power-off-worker",),
        enough=lambda value: 0 < (value or 0) <= HEARTBEAT_SECONDS,
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
        "A worker exits after 100 attempts, and does not consume when the broker is available again.",
        enough=_one_of(None, 0),  # both mean no limit
    ),
    Setting(
        "broker_channel_error_retry",
        True,
        "A worker continues after a channel error, e.g. when its lost connection locks a queue (405).",
        "The worker exits: 12 restarts in 90 s after a power failure.",
        drills=("power-off-worker",),
    ),
    Setting(
        "worker_cancel_long_running_tasks_on_connection_loss",
        True,
        "A task is cancelled when the connection is lost: the broker delivers it to another worker.",
        "The task runs twice at the same time, and its process cannot run another task meanwhile.",
    ),
    Setting(
        "worker_soft_shutdown_timeout",
        _soft_shutdown,
        "Seconds for running tasks to finish when the worker is stopped at once (SIGQUIT).",
        "Each restart interrupts the tasks that run; they run again.",
        enough=lambda value: value > 0,
    ),
    Setting(
        "worker_proc_alive_timeout",
        30.0,
        "Seconds for a pool process to start.",
        "On a busy host the worker kills its processes after 4 s, before they have started.",
        enough=lambda value: value >= 30,
    ),
    Setting(
        "worker_enable_remote_control",
        False,
        "No exclusive queue for each worker. `make_durable(app, remote_control=True)` keeps it.",
        "The worker's lost connection locks this queue: a worker restarted 12 times in 90 s after a power "
        "failure. A host stopped for 6.4 s after a broker froze, for 2.8 s without the queue.",
        drills=("power-off-worker",),
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
        drills=("freeze-broker-follower",),
    ),
)
_BY_NAME = {setting.name: setting for setting in SETTINGS}


def apply(conf: Settings, *, without: Collection[str] = ()) -> None:
    """Add SETTINGS to `conf` as defaults, without those named; add missing keys to its mappings."""
    view: Any = conf
    defaults: dict[str, Any] = view.maps[-1]  # Celery's own, a copy for each application
    for setting in SETTINGS:
        if setting.name in without:
            continue
        value = setting.wanted(conf)
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
    return [
        f"{_shown(setting, conf)}: {setting.without}"
        for setting in SETTINGS
        if setting.loses(conf[setting.name])
    ]


def _shown(setting: Setting, conf: Settings) -> str:
    if setting.name == "broker_transport_options":  # may contain passwords
        return "broker_transport_options['confirm_publish'] is off"
    return f"{setting.name} = {conf[setting.name]!r}"


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
