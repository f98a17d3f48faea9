"""Celery's settings: one mapping for producers, beat and workers.

The publisher decides native delayed delivery from its own queue configuration, so a producer that differs
from the workers loses retries; hence one function, and no setting anywhere else.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from amqp.exceptions import MessageNacked

from mosaic import topology
from mosaic.config import Config
from mosaic.kinds import KINDS

HARD_TIME_LIMIT_SECONDS = 300
SOFT_TIME_LIMIT_SECONDS = 240
TICK_SECONDS = 10
SWEEP_SECONDS = 10
PURGE_SECONDS = 600

TASK_MODULES = (
    *(kind.task_module for kind in KINDS.values()),
    "mosaic.tasks.upkeep",
    "mosaic.tasks.probe",
    "mosaic.drill.tasks",
)

# Longer than the election of a new queue leader (1-5 s measured), shorter than a person's patience: 36 s.
PUBLISH_RETRY_POLICY: dict[str, Any] = {
    "max_retries": 20,
    "interval_start": 0.1,
    "interval_step": 0.3,
    "interval_max": 2.0,
    "retry_errors": (MessageNacked,),
}

DATABASE_CONNECT_ARGUMENTS: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15000,
}


def celery_settings(config: Config) -> dict[str, Any]:
    """Return the settings of this host's Celery application."""
    return {
        **_broker(config),
        **_results(config),
        **_tasks(config),
        **_worker(config),
        **_beat(),
    }


def _broker(config: Config) -> dict[str, Any]:
    return {
        "broker_url": config.broker.url,
        "broker_heartbeat": config.broker.heartbeat,
        "broker_connection_timeout": 4,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # A restarted worker may find its old pidbox queue locked (405) until the broker drops the old
        # connection; without this setting it exits.
        "broker_channel_error_retry": True,
        "broker_transport_options": {
            "confirm_publish": True,
            # For an answer that the broker owes: a confirm, or what a worker asks for when it connects. Both
            # would wait as long as the broker does for a leader that is frozen, over 5 s.
            "read_timeout": max(2, config.broker.heartbeat * 2 // 3),
        },
        "broker_native_delayed_delivery_queue_type": "quorum",
    }


def _results(config: Config) -> dict[str, Any]:
    return {
        "result_backend": f"db+{config.database.url}",
        "result_serializer": "json",
        "result_accept_content": ["json"],
        "result_expires": timedelta(days=1),
        # Chords poll through native delayed delivery, which knows whole seconds only.
        "result_chord_retry_interval": 1.0,
        # The migration makes the tables; the application's role may not create any.
        "database_create_tables_at_setup": False,
        "database_engine_options": {
            "pool_pre_ping": True,
            "pool_recycle": 3600,
            "connect_args": DATABASE_CONNECT_ARGUMENTS,
        },
    }


def _tasks(config: Config) -> dict[str, Any]:
    return {
        "task_queues": topology.task_queues(config.host),
        "task_routes": topology.task_routes(),
        "task_default_queue": topology.UPKEEP_QUEUE,
        "task_default_queue_type": "quorum",
        "task_default_exchange": topology.TASKS,
        "task_default_exchange_type": "topic",
        "task_default_routing_key": "upkeep",
        "task_create_missing_queues": False,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_acks_late": True,
        # Without this, late acks still acknowledge a task whose pool process was killed.
        "task_reject_on_worker_lost": True,
        "task_publish_retry": True,
        "task_publish_retry_policy": PUBLISH_RETRY_POLICY,
        "task_time_limit": HARD_TIME_LIMIT_SECONDS,
        "task_soft_time_limit": SOFT_TIME_LIMIT_SECONDS,
        "task_ignore_result": True,
    }


def _worker(config: Config) -> dict[str, Any]:
    return {
        "worker_prefetch_multiplier": 1,
        "worker_cancel_long_running_tasks_on_connection_loss": True,
        # The worker sleeps through it whole, silent towards the broker: above a part's usual time, and well
        # below the two heartbeats after which the broker would give its tasks to others.
        "worker_soft_shutdown_timeout": min(4.0, 1.5 * config.broker.heartbeat),
        "worker_detect_quorum_queues": True,
        "worker_proc_alive_timeout": 30.0,
        # Remote control keeps an exclusive queue. While a worker's last connection hangs on a frozen
        # broker, it is locked and the worker fails at it again and again (405); declaring it waits for the
        # metadata store to elect a leader; and RabbitMQ 4.0 with Khepri fails its first boot after a stop
        # when such a queue was left. `celery inspect` therefore finds nobody; what workers do is in the
        # ledger.
        "worker_enable_remote_control": False,
        # Flower has nothing else to live on; see mosaic.events for what they cost.
        "worker_send_task_events": True,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
    }


def _beat() -> dict[str, Any]:
    def every(task: str, seconds: int) -> dict[str, Any]:
        # An entry that waited out its period is worthless: the next one is due.
        return {"task": task, "schedule": float(seconds), "options": {"expires": float(seconds) * 3}}

    return {
        # Intervals only, so nothing needs to be remembered across a restart, and no file can be torn.
        "beat_scheduler": "celery.beat:Scheduler",
        "beat_max_loop_interval": 5,
        "beat_schedule": {
            "tick": every("mosaic.upkeep.tick", TICK_SECONDS),
            "sweep": every("mosaic.upkeep.sweep", SWEEP_SECONDS),
            "purge": every("mosaic.upkeep.purge", PURGE_SECONDS),
        },
    }
