"""The Celery application, the same for producers, beat and workers: `celery -A mosaic.celery ...`."""

from __future__ import annotations

import gc
import logging
from functools import cache
from typing import Any

from celery import Celery, signals

from celery_durable import make_durable
from mosaic import topology
from mosaic.config import Config, load_config
from mosaic.ledger.database import forget_after_fork
from mosaic.logging_setup import configure_logging
from mosaic.settings import TASK_MODULES, celery_settings
from mosaic.worker import report


def create_app(config: Config) -> Celery:
    """Return a Celery application for `config`; it connects on first use."""
    app = Celery("mosaic", set_as_current=True, include=TASK_MODULES)
    app.conf.update(celery_settings(config))
    return make_durable(app)


@cache
def current_app() -> Celery:
    """Return this process's application; the first call creates it from the configuration file."""
    return create_app(load_config())


def __getattr__(name: str) -> Any:
    # `celery -A mosaic.celery` looks for `app`; importing this module must not need a configuration file.
    if name in ("app", "celery"):
        return current_app()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@signals.setup_logging.connect
def _set_up_logging(loglevel: int | str | None = None, **_: Any) -> None:
    configure_logging(loglevel if isinstance(loglevel, int) else logging.INFO)


@signals.celeryd_init.connect
def _name_worker(sender: str, conf: Any, **_: Any) -> None:
    name_connections(conf, sender)


def name_connections(conf: Any, name: str) -> None:
    """Let the brokers show `name`, as NAME@HOST, for the connections of this process and its pool."""
    options = dict(conf.broker_transport_options or {})
    options["client_properties"] = {**options.get("client_properties", {}), "connection_name": name}
    conf.broker_transport_options = options


@signals.celeryd_after_setup.connect
def _forget_unconsumed_host_queue(instance: Any, **_: Any) -> None:
    # A worker binds every queue that it knows to delayed delivery. The host's own queue exists only after the
    # worker that consumes it has declared it.
    queues = instance.app.amqp.queues
    own = topology.host_queue(load_config().host).name
    if own in queues and own not in queues.consume_from:
        del queues[own]


@signals.worker_init.connect
def _share_memory(**_: Any) -> None:
    # Pool processes share the memory of the worker until they write to it, and the garbage collector writes
    # to each object that it examines. After freeze() it leaves out those that exist before the fork.
    gc.collect()
    gc.freeze()


@signals.worker_ready.connect
def _report_worker_ready(sender: Any, **_: Any) -> None:
    report.begin_worker(sender.controller)


@signals.worker_process_init.connect
def _forget_parent_connections(**_: Any) -> None:
    forget_after_fork()


@signals.beat_init.connect
def _report_beat_ready(sender: Any, **_: Any) -> None:
    from celery_durable.metrics import measure_publishing

    name_connections(sender.app.conf, f"beat@{load_config().host}")
    report.begin_beat(sender.scheduler)
    measure_publishing("beat")
