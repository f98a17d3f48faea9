"""The application's own settings of Celery: one mapping for producers, beat and workers.

What keeps tasks is not here: celery_durable adds it, and says why.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from mosaic import topology
from mosaic.config import Config
from mosaic.kinds import KINDS

HARD_TIME_LIMIT_SECONDS = 300
SOFT_TIME_LIMIT_SECONDS = 240
# Of an attempt at a part of minutes; below the brokers' consumer timeout (role rabbitmq).
LONG_HARD_TIME_LIMIT_SECONDS = 1500
LONG_SOFT_TIME_LIMIT_SECONDS = 1440
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
        # The migration makes the tables; the application's role may not create any.
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
        "worker_send_task_events": True,  # Flower reads them
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        **_beat(),
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
