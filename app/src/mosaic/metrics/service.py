"""`mosaic metrics`: serve the metrics of this host's processes, and of the ledger, over TLS."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from socketserver import StreamRequestHandler
from typing import cast

from prometheus_client import CollectorRegistry, disable_created_metrics, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector

from celery_durable import systemd
from mosaic.config import ConfigError
from mosaic.ledger.database import DATABASE_AWAY, transaction
from mosaic.metrics.ledger import LedgerMetrics
from mosaic.service import on_stop_signal

logger = logging.getLogger(__name__)

FOLDER = Path("/run/mosaic-metrics")  # PROMETHEUS_MULTIPROC_DIR of the units that publish
UPDATE_SECONDS = 5.0
CLIENT_SECONDS = 10.0


def serve() -> None:
    """Serve until SIGTERM or SIGINT. MOSAIC_METRICS_* set address, port, TLS folder and ledger."""
    stop = threading.Event()
    on_stop_signal(stop.set)
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    if FOLDER.is_dir():
        MultiProcessCollector(registry, path=str(FOLDER))  # type: ignore[no-untyped-call]
    ledger = LedgerMetrics(registry) if _setting("LEDGER") == "1" else None
    tls, address, port = Path(_setting("TLS")), _setting("ADDRESS"), int(_setting("PORT"))
    try:
        server, thread = start_http_server(
            port,
            addr=address,
            registry=registry,
            certfile=str(tls / "host.pem"),
            keyfile=str(tls / "host.key"),
        )
    except OSError as error:
        raise ConfigError(
            f"metrics cannot be served at {address}:{port} with {tls}/host.pem: {error}."
        ) from error
    # Otherwise the accepting thread does the TLS handshake too, and one silent client blocks all others.
    server.socket.do_handshake_on_connect = False  # type: ignore[attr-defined]  # of an ssl.SSLSocket
    cast(type[StreamRequestHandler], server.RequestHandlerClass).timeout = CLIENT_SECONDS
    systemd.ready("serving metrics" + (" and reading the ledger" if ledger else ""))
    while True:
        if ledger is not None:
            _update(ledger)
        if stop.wait(UPDATE_SECONDS):
            break
    server.shutdown()
    thread.join()


def _setting(name: str) -> str:
    try:
        return os.environ[f"MOSAIC_METRICS_{name}"]
    except KeyError:
        raise ConfigError(f"MOSAIC_METRICS_{name} is not set: see /etc/mosaic/metrics.env.") from None


def _update(ledger: LedgerMetrics) -> None:
    try:
        with transaction() as session:
            ledger.update(session)
    except DATABASE_AWAY as error:
        logger.warning("the database is unavailable, the ledger cannot be read: %s", error)
        ledger.up.set(0)
    else:
        ledger.up.set(1)
