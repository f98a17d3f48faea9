"""The negative control of drills: Celery as its first pages set it up, `celery -A mosaic.drill.stock ...`.

A list of brokers, a classic queue, no confirms, acknowledgement before the work, no retry. Only what this lab
forces on every client differs: TLS, and the drill's ledger.
"""

from __future__ import annotations

import os
import signal
import ssl
import time
from collections.abc import Callable
from typing import Any

from celery import Celery, Task, signals

from mosaic.config import load_config
from mosaic.ledger import drills
from mosaic.ledger.database import forget_after_fork, transaction
from mosaic.ledger.drills import Unit
from mosaic.ledger.work import Runner

BROKERS = "MOSAIC_STOCK_BROKERS"  # addresses as Celery takes them: amqp://user:password@host:port/vhost;...
AUTHORITY = "MOSAIC_STOCK_CA"

app = Celery("stock", broker=os.environ.get(BROKERS, ""))
if os.environ.get(AUTHORITY):
    app.conf.broker_use_ssl = {"ca_certs": os.environ[AUTHORITY], "cert_reqs": ssl.CERT_REQUIRED}


@signals.worker_process_init.connect
def _forget_parent_connections(**_: Any) -> None:
    forget_after_fork()


def _do(task: Task[Any, Any], run: str, unit: int, what: Callable[[], object]) -> None:
    delivery = task.request.delivery_info or {}
    redelivered = bool(delivery.get("redelivered"))
    runner = Runner(str(task.request.id), str(task.name), load_config().host, os.getpid(), redelivered)
    with transaction() as session:
        begun = drills.begin(session, Unit(run, unit), runner)
    if begun is not None:
        what()
        with transaction() as session:
            drills.finish(session, Unit(run, unit), begun)


@app.task(bind=True, name="mosaic.drill.work")
def work(self: Task[Any, Any], run: str, unit: int, seconds: float) -> None:
    """Do unit `unit` of the drill `run`, which takes `seconds`."""
    _do(self, run, unit, lambda: time.sleep(seconds))


@app.task(bind=True, name="mosaic.drill.hog")
def hog(self: Task[Any, Any], run: str, unit: int, seconds: float) -> None:
    """Do a unit that takes longer than the broker would wait for a late acknowledgement."""
    _do(self, run, unit, lambda: time.sleep(seconds))


@app.task(bind=True, name="mosaic.drill.poison")
def poison(self: Task[Any, Any], run: str, unit: int) -> None:
    """Kill the process that runs this."""
    _do(self, run, unit, lambda: os.kill(os.getpid(), signal.SIGKILL))
