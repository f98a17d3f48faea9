"""The Celery application, the same for producers, beat and workers: `celery -A mosaic.celery ...`."""

from __future__ import annotations

import logging
from functools import cache
from importlib import import_module
from typing import Any

from celery import Celery, signals

from mosaic import systemd, topology
from mosaic.config import Config, load_config
from mosaic.ledger.database import forget_after_fork
from mosaic.logging_setup import configure_logging
from mosaic.lost_processes import LostProcesses
from mosaic.metrics.publishing import measure_celery
from mosaic.settings import TASK_MODULES, celery_settings
from mosaic.worker import report

LAST_EVENTS_SECONDS = 0.5


def create_app(config: Config) -> Celery:
    """Return a Celery application for `config`; it connects when it is used."""
    app = Celery("mosaic", set_as_current=True, include=TASK_MODULES, events="mosaic.events:SentAside")
    app.conf.update(celery_settings(config))
    app.steps["worker"].add(LostProcesses)
    return app


@cache
def current_app() -> Celery:
    """Return this process's application, made from its configuration file on first use."""
    return create_app(load_config())


def __getattr__(name: str) -> Any:
    # `celery -A mosaic.celery` looks for `app`; importing this module must not need a configuration file.
    if name in ("app", "celery"):
        return current_app()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@signals.setup_logging.connect
def _set_up_logging(loglevel: int | str | None = None, **_: Any) -> None:
    configure_logging(loglevel if isinstance(loglevel, int) else logging.INFO)


@signals.celeryd_after_setup.connect
def _forget_unconsumed_host_queue(instance: Any, **_: Any) -> None:
    # An instance binds every queue it knows to delayed delivery; the host's own queue exists only once the
    # instance that consumes it has declared it.
    queues = instance.app.amqp.queues
    own = topology.host_queue(load_config().host).name
    if own in queues and own not in queues.consume_from:
        del queues[own]


@signals.before_task_publish.connect
def _leave_expiry_to_the_worker(properties: dict[str, Any], **_: Any) -> None:
    # A message that the broker lets expire becomes a dead letter, which somebody has to look at: each tick
    # of beat that an outage outlasted. The worker drops by the header what comes too late.
    properties.pop("expiration", None)


@signals.worker_ready.connect
def _report_worker_ready(sender: Any, **_: Any) -> None:
    report.begin_worker(sender.controller)
    systemd.ready("consuming " + " ".join(sorted(sender.app.amqp.queues.consume_from)))


@signals.celeryd_init.connect
def _load_the_database_driver(instance: Any, **_: Any) -> None:
    # A lost connection cancels running tasks, which writes to the result backend. When that had to load the
    # driver first, the worker stood still for 2 s in the middle of a fail-over.
    import_module("sqlalchemy.dialects.postgresql.psycopg")
    import_module("psycopg")
    _ = instance.app.backend


@signals.celeryd_init.connect
def _declare_levels_of_delay_once(**_: Any) -> None:
    from mosaic.delays import declare_once  # a producer does without Celery's worker

    declare_once()


@signals.worker_shutting_down.connect
def _report_worker_stopping(**_: Any) -> None:
    systemd.stopping("finishing running tasks")


@signals.worker_shutdown.connect
def _send_last_events(sender: Any, **_: Any) -> None:
    # Among them that this worker goes; who looks would learn it from missing heartbeats only.
    sender.app.events.sender.finish(LAST_EVENTS_SECONDS)


@signals.worker_process_init.connect
def _forget_parent_connections(**_: Any) -> None:
    forget_after_fork()


@signals.beat_init.connect
def _report_beat_ready(sender: Any, **_: Any) -> None:
    report.begin_beat(sender.scheduler)
    measure_celery("beat")
    systemd.ready(f"{len(sender.scheduler.schedule)} periodic tasks")
