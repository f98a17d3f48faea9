"""The negative control of drills: Celery as its first pages set it up, `celery -A mosaic.drill.stock ...`.

A list of brokers, a classic queue, no confirms, acknowledgement before the work, no retry. Only what this lab
forces on every client differs: TLS, and the drill's ledger.
"""

from __future__ import annotations

import os
import ssl
import time
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


@app.task(bind=True, name="mosaic.drill.work")
def work(self: Task[Any, Any], run: str, unit: int, seconds: float) -> None:
    """Do unit `unit` of the drill `run`, which takes `seconds`."""
    delivery = self.request.delivery_info or {}
    runner = Runner(
        str(self.request.id),
        str(self.name),
        load_config().host,
        os.getpid(),
        bool(delivery.get("redelivered")),
    )
    with transaction() as session:
        begun = drills.begin(session, Unit(run, unit), runner)
    if begun is not None:
        time.sleep(seconds)
        with transaction() as session:
            drills.finish(session, Unit(run, unit), begun)
