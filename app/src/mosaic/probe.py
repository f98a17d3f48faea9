"""Asking named hosts to execute one task each."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from celery import Celery

from mosaic import topology
from mosaic.ledger import jobs
from mosaic.ledger.database import transaction

POLL_SECONDS = 0.1


@dataclass(frozen=True)
class ProbeAnswer:
    """The attempt by which a host answered; `seconds` from publishing to its end."""

    host: str
    pid: int
    task_id: str
    seconds: float


def probe_hosts(app: Celery, hosts: Sequence[str], timeout: float) -> list[ProbeAnswer]:
    """Publish a probe to each host's own queue; return the answers in time, in the order of `hosts`."""
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
    answers: dict[str, ProbeAnswer] = {}
    while len(answers) < len(sent) and time.monotonic() < deadline:
        with transaction() as session:
            for attempt in jobs.finished_attempts(session, list(sent)):
                host, published = sent[attempt.task_id]
                ended = attempt.ended_at.timestamp() if attempt.ended_at else time.time()
                if attempt.host == host:
                    answers[attempt.task_id] = ProbeAnswer(
                        attempt.host, attempt.pid, attempt.task_id, round(ended - published, 3)
                    )
        if len(answers) < len(sent):
            time.sleep(POLL_SECONDS)
    return [answers[task_id] for task_id in sent if task_id in answers]
