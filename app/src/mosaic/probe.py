"""Probes: each named host has to execute one task."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Any

from celery import Celery

from mosaic import topology
from mosaic.ledger import jobs
from mosaic.ledger.database import transaction

POLL_SECONDS = 0.1


def probe_hosts(app: Celery, hosts: Sequence[str], timeout: float) -> list[dict[str, Any]]:
    """Publish a probe to each host's own queue and return the answers, in the order of `hosts`.

    An answer is the attempt: host, pid, task_id, and `seconds` from publishing to its end.
    """
    deadline = time.monotonic() + timeout
    sent: dict[str, tuple[str, float]] = {}
    for host in hosts:
        task_id = str(uuid.uuid4())
        sent[task_id] = (host, time.time())
        app.send_task(
            "mosaic.probe",
            task_id=task_id,
            exchange=topology.TASKS,
            routing_key=topology.host_routing_key(host),
            expires=timeout,
            retry_policy={"max_retries": 3},
        )
    answers: dict[str, dict[str, Any]] = {}
    while len(answers) < len(sent) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        with transaction() as session:
            for attempt in jobs.finished_attempts(session, list(sent)):
                host, published = sent[attempt.task_id]
                ended = attempt.ended_at.timestamp() if attempt.ended_at else time.time()
                if attempt.host == host:
                    answers[attempt.task_id] = {
                        "host": host,
                        "pid": attempt.pid,
                        "task_id": attempt.task_id,
                        "seconds": round(ended - published, 3),
                    }
    return [answers[task_id] for task_id in sent if task_id in answers]
