"""Plain Celery, for comparison in drills: Celery with default settings, `celery -A mosaic.drill.stock ...`.

A list of brokers, a classic queue, no publisher confirms, acknowledgement before the work, no retry. Only
what the lab requires from every client differs: TLS, and the drill's ledger. Each host's list begins with
another broker.
"""

from __future__ import annotations

import os
import ssl
from typing import Any

from celery import Celery, Task, signals

from mosaic.drill import units
from mosaic.ledger.database import forget_after_fork
from mosaic.tasks.base import runner_of

BROKERS = "MOSAIC_STOCK_BROKERS"  # addresses in Celery's form: amqp://user:password@host:port/vhost;...
AUTHORITY = "MOSAIC_STOCK_CA"

app = Celery("stock", broker=os.environ.get(BROKERS, ""))
if os.environ.get(AUTHORITY):
    app.conf.broker_use_ssl = {"ca_certs": os.environ[AUTHORITY], "cert_reqs": ssl.CERT_REQUIRED}


@signals.worker_process_init.connect
def _forget_parent_connections(**_: Any) -> None:
    forget_after_fork()


def _add_task(kind: str) -> None:
    @app.task(bind=True, name=f"mosaic.drill.{kind}")
    def task(self: Task[Any, Any], run: str, unit: int, *arguments: Any) -> None:
        units.attempt(kind, runner_of(self), run, unit, *arguments)


for _kind in units.KINDS:
    _add_task(_kind)
