"""The settings that keep tasks: for each its value, why, and what happens without it.

They are applied below what the application itself has set. Figures: three RabbitMQ 4.0 brokers, Celery 5.7,
40 tasks/s; docs/measurements/2026-11-reliability.md has the runs. `./lab audit` loads this file alone, with
the application's Celery, which may be older: it imports nothing of this package.
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
ELECTION_SECONDS = 9  # the longest that electing a queue's leader takes

Judge = Callable[[Any], bool]


@dataclass(frozen=True)
class Setting:
    """One setting of Celery.

    `value` is what is applied: a value, or a function of the application's configuration. A mapping is merged
    with the application's own, key by key. `drills` show what happens without it; their figures are in
    `without`. `loses`: whether tasks are lost with a value. `enough`: whether a value of the application does
    as well; by default the same value does, or a mapping with the same keys.
    """

    name: str
    value: Any
    why: str
    without: str
    drills: tuple[str, ...] = ()
    loses: Judge = lambda _value: False
    enough: Judge | None = None

    def wanted(self, conf: Settings) -> Any:
        """Return what is applied to an application of this configuration."""
        return self.value(conf) if callable(self.value) else self.value

    def suffices(self, conf: Settings) -> bool:
        """Whether the application's value, by itself or from `apply`, does what the setting is for."""
        value, wanted = conf[self.name], self.wanted(conf)
        if self.enough:
            return self.enough(value)
        return set(wanted) <= set(value or ()) if isinstance(wanted, Mapping) else bool(value == wanted)


def _one_of(*values: Any) -> Judge:
    return lambda value: value in values


def _patience(policy: Mapping[str, Any] | None) -> float:
    """Seconds for which publishing is tried again with a retry policy."""
    policy = {**DEFAULTS["task_publish_retry_policy"], **(policy or {})}
    if policy["max_retries"] is None:
        return float("inf")
    steps = range(policy["max_retries"])
    start, step, most = (float(policy[f"interval_{name}"]) for name in ("start", "step", "max"))
    return sum(min(start + step * number, most) for number in steps)


def _heartbeat(conf: Settings) -> int:
    return int(own_settings(conf).get("broker_heartbeat") or HEARTBEAT_SECONDS)


def _transport_options(conf: Settings) -> dict[str, Any]:
    # Below two heartbeats: by then the broker has given the tasks of this connection to others.
    return {"confirm_publish": True, "read_timeout": max(2, _heartbeat(conf) * 2 // 3)}


def _soft_shutdown(conf: Settings) -> float:
    # The worker waits through it whole, and sends no heartbeat meanwhile.
    return min(4.0, 1.5 * _heartbeat(conf))


def _engine_options(conf: Settings) -> dict[str, Any]:
    if str(conf.result_backend).startswith(("db+postgresql://", "db+postgresql+psycopg")):
        return {"connect_args": POSTGRESQL_CONNECT_ARGUMENTS}
    return {}


# Times of libpq in seconds, the last one in milliseconds: a database host that is gone is noticed in 15 s.
POSTGRESQL_CONNECT_ARGUMENTS = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15000,
}

# 33 s in all: longer than the election of a queue's leader (1 to 9 s), shorter than a person's patience.
PUBLISH_RETRY_POLICY = {
    "max_retries": 20,
    "interval_start": 0.1,
    "interval_step": 0.3,
    "interval_max": 2.0,
    "retry_errors": (MessageNacked,),
}

_CLASSIC = "A classic queue is gone with its broker: 2418 of 3673 tasks when one was powered off."
_DIRECT = (
    "Tasks with a countdown wait in a worker's memory, and take a place of its prefetch until they are due."
)

SETTINGS = (
    Setting(
        "task_acks_late",
        True,
        "A task is acknowledged after it ran, not before.",
        "What runs or is prefetched on a host that dies is lost: 48 of 7389 tasks when one was powered off.",
        drills=("power-off-worker", "kill-worker"),
        loses=_one_of(False),
    ),
    Setting(
        "task_reject_on_worker_lost",
        True,
        "A task whose pool process died goes back to the queue.",
        "With late acknowledgement alone such a task is acknowledged: a lost task for each process that is "
        "killed, as with early acknowledgement (5 of 2842 tasks in five rounds).",
        drills=("kill-pool-child", "poison-task"),
        loses=_one_of(False, None),
    ),
    Setting(
        "broker_transport_options",
        _transport_options,
        "`confirm_publish`: publishing returns when a majority of the brokers has the task. `read_timeout`: "
        "an answer that a broker owes is waited for so long, in seconds.",
        "What is on its way to a broker that dies is lost, and nothing raises: 308 of 4150 tasks when one "
        "froze. With confirms and no timeout a publisher hangs for more than 60 s.",
        drills=("freeze-broker-leader", "memory-alarm", "disk-alarm"),
        loses=lambda value: not value.get("confirm_publish"),
        enough=lambda value: bool(value.get("confirm_publish") and value.get("read_timeout")),
    ),
    Setting(
        "task_publish_retry",
        True,
        "Publishing is tried again after a lost connection.",
        "Each fail-over of a broker is an exception in the producer.",
        loses=_one_of(False),
    ),
    Setting(
        "task_publish_retry_policy",
        PUBLISH_RETRY_POLICY,
        "Half a minute of attempts after a lost connection, 20 when the broker refuses a task.",
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
        "The same for queues that only `-Q`, a route or `queue=` names.",
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
        "The same for queues that only `-Q`, a route or `queue=` names.",
        _DIRECT,
    ),
    Setting(
        "broker_native_delayed_delivery_queue_type",
        "quorum",
        "Tasks with a countdown wait in quorum queues too.",
        "Tasks with a countdown are gone with a broker.",
        loses=_one_of("classic"),
    ),
    Setting(
        "broker_heartbeat",
        HEARTBEAT_SECONDS,
        "Seconds; a host that is gone is noticed after two or three of them.",
        "With Celery's 120 s the tasks of a host without power wait for 4 to 6 minutes; with 2 s one ran "
        "elsewhere after 6.6 s, with 3 s after 10.4 s.",
        drills=("power-off-worker",),
        enough=lambda value: 0 < (value or 0) <= HEARTBEAT_SECONDS,
    ),
    Setting(
        "broker_connection_retry_on_startup",
        True,
        "A worker that starts before its broker waits for it.",
        "A warning at each start that a later Celery will not wait.",
    ),
    Setting(
        "broker_connection_max_retries",
        None,
        "A worker tries to connect for as long as it takes.",
        "After 100 attempts it exits, and nobody consumes when the broker is back.",
        enough=_one_of(None, 0),  # both: for ever
    ),
    Setting(
        "broker_channel_error_retry",
        True,
        "A worker goes on after an error of its channel, as when its lost connection locks a queue (405).",
        "The worker exits: 12 restarts in 90 s were seen after a power cut.",
        drills=("power-off-worker",),
    ),
    Setting(
        "worker_cancel_long_running_tasks_on_connection_loss",
        True,
        "A task whose connection is lost is ended: the broker has given it to another worker.",
        "The task runs twice at the same time, and its process takes no other task meanwhile.",
    ),
    Setting(
        "worker_soft_shutdown_timeout",
        _soft_shutdown,
        "Seconds that running tasks get when the worker is told to stop at once (SIGQUIT).",
        "Each restart interrupts the tasks that run; they run again.",
        enough=lambda value: value > 0,
    ),
    Setting(
        "worker_proc_alive_timeout",
        30.0,
        "Seconds for a pool process to start.",
        "On a busy host the worker kills its processes, after 4 s, before they are up.",
        enough=lambda value: value >= 30,
    ),
    Setting(
        "worker_enable_remote_control",
        False,
        "No exclusive queue for each worker. `make_durable(app, remote_control=True)` keeps it.",
        "The worker's lost connection locks that queue: after a power cut a worker was started 12 times in "
        "90 s. A host stood still for 6.4 s after a broker froze, 2.8 s without it.",
        drills=("power-off-worker",),
    ),
    Setting(
        "database_engine_options",
        _engine_options,
        "With results in PostgreSQL: a database host that is gone is noticed in 15 s.",
        "A worker hangs in its connection for up to 15 minutes, until TCP gives up.",
    ),
    Setting(
        "worker_consumer",
        "celery_durable.consumer:DurableConsumer",
        "Declares the queues of delayed delivery when a worker starts, not at each reconnect. Rejects what "
        "cannot be decoded.",
        "A host stood still for 9.9 s after a broker froze, 0.7 s with it (worst of five). What cannot be "
        "decoded is acknowledged: lost.",
        drills=("freeze-broker-follower",),
    ),
)
_BY_NAME = {setting.name: setting for setting in SETTINGS}


def apply(conf: Settings, *, remote_control: bool = False) -> None:
    """Put SETTINGS below what the application has set in `conf`; complete its mappings, key by key."""
    view: Any = conf
    defaults: dict[str, Any] = view.maps[-1]  # Celery's own, a copy for each application
    for setting in SETTINGS:
        if setting.name == "worker_enable_remote_control" and remote_control:
            continue
        value = setting.wanted(conf)
        # In an application that uses Celery's old names the defaults have them too.
        name = setting.name if setting.name in defaults else view._keys[1](setting.name)
        if isinstance(value, Mapping):
            value = _merged(DEFAULTS[setting.name], value)
            own = own_settings(conf).get(setting.name)
            if own:
                # Under each name: Celery 5.6 looks for the one with a namespace everywhere first.
                view.update(dict.fromkeys(view._to_keys(setting.name), _merged(value, own)))
        defaults[name] = value


def own_settings(conf: Settings) -> Settings:
    """Return a view of what the application set itself, by whichever of a setting's names."""
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
    if setting.name == "broker_transport_options":  # which may have passwords
        return "broker_transport_options['confirm_publish'] is off"
    return f"{setting.name} = {conf[setting.name]!r}"


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
