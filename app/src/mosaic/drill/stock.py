"""The negative control of drills: Celery as its first pages set it up, `celery -A mosaic.drill.stock ...`.

A list of brokers, a classic queue, no confirms, acknowledgement before the work, no retry. Only what this lab
forces on every client differs: TLS, and the drill's ledger. The hosts' lists begin with different brokers.
"""

from __future__ import annotations

import os
import signal
import ssl
import time
from typing import Any

from celery import Celery, Task, signals

from mosaic.drill import hold
from mosaic.drill.attempt import attempt
from mosaic.ledger.database import forget_after_fork
from mosaic.ledger.drills import Unit
from mosaic.tasks.base import runner_of

BROKERS = "MOSAIC_STOCK_BROKERS"  # addresses as Celery takes them: amqp://user:password@host:port/vhost;...
AUTHORITY = "MOSAIC_STOCK_CA"

app = Celery("stock", broker=os.environ.get(BROKERS, ""))
if os.environ.get(AUTHORITY):
    app.conf.broker_use_ssl = {"ca_certs": os.environ[AUTHORITY], "cert_reqs": ssl.CERT_REQUIRED}


@signals.worker_process_init.connect
def _forget_parent_connections(**_: Any) -> None:
    forget_after_fork()


@app.task(bind=True, name="mosaic.drill.work")
def work(self: Task[Any, Any], run: str, unit: int, seconds: float) -> None:
    """Do unit `unit` of the drill `run`, which takes `seconds`."""
    attempt(Unit(run, unit), runner_of(self), lambda _: time.sleep(seconds))


@app.task(bind=True, name="mosaic.drill.held")
def held(self: Task[Any, Any], run: str, unit: int, seconds: float) -> None:
    """Stay at work at the first attempt until the load lets go, for `seconds` at most."""
    of = Unit(run, unit)
    attempt(of, runner_of(self), lambda number: hold.stay(of, number, seconds))


@app.task(bind=True, name="mosaic.drill.hog")
def hog(self: Task[Any, Any], run: str, unit: int, seconds: float) -> None:
    """Do a unit that takes longer than the broker would wait for a late acknowledgement."""
    attempt(Unit(run, unit), runner_of(self), lambda _: time.sleep(seconds))


@app.task(bind=True, name="mosaic.drill.poison")
def poison(self: Task[Any, Any], run: str, unit: int) -> None:
    """Kill the process that runs this."""
    attempt(Unit(run, unit), runner_of(self), lambda _: os.kill(os.getpid(), signal.SIGKILL))
