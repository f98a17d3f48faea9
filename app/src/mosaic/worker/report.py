"""What workers and beat report about themselves with each heartbeat."""

from __future__ import annotations

import atexit
import datetime
import os
from collections.abc import Callable
from typing import Any

from mosaic import proxy_state
from mosaic.config import load_config
from mosaic.ledger.heartbeats import BEAT, WORKER, Source
from mosaic.worker.heartbeat import HeartbeatThread


def worker_details(worker: Any, proxy_socket: str) -> dict[str, Any]:
    """Return queues, pool processes, running and started tasks, and whether a broker is connected."""
    from celery.worker import state

    connection = getattr(worker.consumer, "connection", None)
    return {
        "queues": sorted(worker.app.amqp.queues.consume_from),
        "concurrency": int(worker.concurrency or 0),
        "busy": len(state.active_requests),
        "started": int(state.all_total_count[0]),
        "connected": bool(connection is not None and connection.connected),
        "proxy": proxy_state.ask(proxy_socket),
    }


def beat_details(scheduler: Any) -> dict[str, Any]:
    """Return beat's entries: task, period, time of the last run (UTC), and seconds until the next one."""
    entries = []
    # A copy, because beat may change the mapping meanwhile.
    for name, entry in list(scheduler.schedule.items()):
        remaining = entry.schedule.remaining_estimate(entry.last_run_at)
        last = entry.last_run_at.astimezone(datetime.UTC) if entry.total_run_count else None
        entries.append(
            {
                "name": name,
                "task": entry.task,
                "every": entry.schedule.run_every.total_seconds(),
                "last": last.isoformat() if last else None,
                "next_in": round(remaining.total_seconds(), 3),
                "runs": entry.total_run_count,
            }
        )
    return {"entries": entries}


def begin_worker(worker: Any) -> None:
    """Start the heartbeats of a worker (celery.worker.WorkController)."""
    proxy_socket = load_config().broker.proxy_socket
    instance = str(worker.hostname).partition("@")[0]
    _begin(instance, WORKER, lambda: worker_details(worker, proxy_socket))


def begin_beat(scheduler: Any) -> None:
    """Start the heartbeats of beat."""
    _begin("beat", BEAT, lambda: beat_details(scheduler))


def _begin(instance: str, kind: str, details: Callable[[], dict[str, Any]]) -> None:
    config = load_config()
    source = Source(f"{instance}@{config.host}", kind, config.host, os.getpid())
    thread = HeartbeatThread(config.database.url, source, details)
    thread.start()
    # Beat has no signal for its end.
    atexit.register(thread.stop)
