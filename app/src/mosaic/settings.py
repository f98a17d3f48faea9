"""The application's Celery settings: one mapping for producers, beat and workers.

The settings that prevent lost tasks are not here: celery_durable adds and explains them.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from mosaic import topology
from mosaic.config import Config
from mosaic.kinds import KINDS

HARD_TIME_LIMIT_SECONDS = 300
SOFT_TIME_LIMIT_SECONDS = 240
# For an attempt of several minutes; shorter than the brokers' consumer timeout (role rabbitmq).
LONG_HARD_TIME_LIMIT_SECONDS = 1500
LONG_SOFT_TIME_LIMIT_SECONDS = 1440
# A pool process that had more is replaced after its task: libraries keep memory. It has about 90 MB at first.
MOST_RESIDENT_KB = 200_000
TICK_SECONDS = 10
SWEEP_SECONDS = 10
PURGE_SECONDS = 600

TASK_MODULES = (
    *(kind.task_module for kind in KINDS.values()),
    "mosaic.tasks.upkeep",
    "mosaic.drill.tasks",
)


def celery_settings(config: Config) -> dict[str, Any]:
    """Return the settings of this host's Celery application."""
    return {
        "broker_url": config.broker.url,
        "broker_heartbeat": config.broker.heartbeat,
        "result_backend": f"db+{config.database.url}",
        "result_expires": timedelta(days=1),
        # The migration creates the tables; the application's role may not create any.
        "database_create_tables_at_setup": False,
        "task_queues": topology.task_queues(config.host),
        "task_routes": topology.task_routes(),
        "task_default_queue": topology.UPKEEP_QUEUE,
        "task_default_exchange": topology.TASKS,
        "task_default_routing_key": "upkeep",
        "task_create_missing_queues": False,
        "task_time_limit": HARD_TIME_LIMIT_SECONDS,
        "task_soft_time_limit": SOFT_TIME_LIMIT_SECONDS,
        "task_ignore_result": True,
        "worker_prefetch_multiplier": 1,
        "worker_max_memory_per_child": MOST_RESIDENT_KB,
        "worker_send_task_events": True,  # for Flower
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        # Only intervals: beat needs no file for its state, which a crash could damage.
        "beat_scheduler": "celery.beat:Scheduler",
        "beat_max_loop_interval": 5,
        "beat_schedule": {
            "tick": _every("tick", TICK_SECONDS),
            "sweep": _every("sweep", SWEEP_SECONDS),
            "purge": _every("purge", PURGE_SECONDS),
        },
    }


def _every(task: str, seconds: int) -> dict[str, Any]:
    # A task that has waited for several periods is useless: a newer one is due.
    return {
        "task": f"mosaic.upkeep.{task}",
        "schedule": float(seconds),
        "options": {"expires": seconds * 3.0},
    }
