"""make_durable: apply this package to an application."""

from __future__ import annotations

import importlib
import logging
import math
from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from weakref import WeakKeyDictionary

from celery import Celery, bootsteps, signals
from celery.utils.imports import symbol_by_name

from celery_durable import systemd
from celery_durable.amqp import durable_amqp
from celery_durable.pool import PoolCheck, exit_on_sigterm
from celery_durable.settings import apply, losing_settings, losing_tasks

logger = logging.getLogger("celery_durable")

LAST_EVENTS_SECONDS = 0.5
NO_PICKLE = dict.fromkeys(
    ("db", "database", *(f"celery.backends.database{mark}DatabaseBackend" for mark in ".:")),
    "celery_durable.backend:NoPickleDatabaseBackend",
)
CELERY_EVENTS = "celery.app.events:Events"
_apps: WeakKeyDictionary[Celery, set[str]] = WeakKeyDictionary()  # with the logged warnings


def make_durable(app: Celery, *, remote_control: bool = False, without: Iterable[str] = ()) -> Celery:
    """Configure `app` so that it loses no accepted task on RabbitMQ; return it.

    Call it where the application is created, before or after `config_from_object`, in producers, beat and
    workers: the producer's queues decide how a delayed task is delivered. The application's own settings
    stay, with a warning if they lose tasks. `remote_control` keeps `celery inspect` and `celery control`.
    `without` names settings to leave out, so that a test can show what each of them prevents.

    The table in the README shows what each setting prevents. Prevents also: a pool process that
    continues after SIGTERM (`kill-pool-child`), a worker that waits for events or delayed queues
    of an unavailable broker (`freeze-broker-follower`), expired messages that become dead letters, and stored
    results that run code. An existing classic queue is an error with its remedy; a worker exits with status
    78.
    """
    if app in _apps:
        return app
    _apps[app] = set()
    own: Any = app  # celery-types is incomplete
    own.amqp_cls = durable_amqp(symbol_by_name(own.amqp_cls))
    if own.events_cls == CELERY_EVENTS:
        own.events_cls = "celery_durable.events:BackgroundEvents"
    # If the application has used them already, they are created again from these classes.
    for name in ("amqp", "events"):
        own.__dict__.pop(name, None)
    app.loader.override_backends = {**NO_PICKLE, **app.loader.override_backends}
    app.steps["worker"].update({PoolCheck, Precheck})

    left_out = {*without, *(["worker_enable_remote_control"] if remote_control else [])}

    def configure(sender: Celery, **_: Any) -> None:
        apply(sender.conf, without=left_out)
        warn(sender, losing_settings(sender.conf))

    app.on_after_configure.connect(configure, weak=False)
    if own.configured:
        configure(app)
    app.on_after_finalize.connect(_limit_chords, weak=False)
    if own.finalized:
        _limit_chords(app)
    return app


def _limit_chords(sender: Celery, **_: Any) -> None:
    """Let the last task of a chord fail when the results of the others have expired: it can never run then.

    Celery looks for these results without a limit, also if one of the tasks was lost.
    """
    unlock = sender.tasks["celery.chord_unlock"]
    expires, interval = sender.conf.result_expires, sender.conf.result_chord_retry_interval
    if isinstance(expires, timedelta):
        expires = expires.total_seconds()
    if unlock.max_retries is None and expires and interval:
        unlock.max_retries = math.ceil(expires / interval)


def warn(app: Celery, sentences: Iterable[str]) -> None:
    """Log each sentence once for each application."""
    for sentence in sentences:
        if sentence not in _apps[app]:
            _apps[app].add(sentence)
            logger.warning("%s", sentence)


class Precheck(bootsteps.Step):
    """A step of every worker before its pool starts: warnings, and loading the database driver."""

    def create(self, parent: Any) -> None:
        """Warn of options that lose tasks, and load the driver of the result backend.

        A lost connection cancels running tasks, which writes to the result backend. Loading the driver then
        stopped the worker for 2.7 s during a fail-over.
        """
        warn(parent.app, (*losing_settings(parent.app.conf), *losing_tasks(parent.app)))
        if str(parent.app.conf.result_backend).startswith("db+"):
            make_url = importlib.import_module("sqlalchemy").make_url
            make_url(parent.app.backend.url).get_dialect().import_dbapi()


# Celery's signals are global in the process. Each receiver acts only for durable applications.


@signals.task_prerun.connect
def _end_when_told(sender: Any = None, **_: Any) -> None:
    if getattr(sender, "app", None) in _apps:
        exit_on_sigterm()


@signals.worker_ready.connect
def _worker_is_ready(sender: Any, **_: Any) -> None:
    if sender.app in _apps:
        systemd.ready("consuming " + " ".join(sorted(sender.app.amqp.queues.consume_from)))
        signals.worker_shutting_down.connect(_worker_is_stopping)


def _worker_is_stopping(**_: Any) -> None:
    systemd.stopping("finishing running tasks")


@signals.worker_shutdown.connect
def _send_last_events(sender: Any, **_: Any) -> None:
    # One of them reports the end of this worker. Otherwise only missing heartbeats show it.
    if sender.app in _apps and hasattr(sender.app.events, "sender"):
        sender.app.events.sender.flush(LAST_EVENTS_SECONDS)


@signals.beat_init.connect
def _beat_is_ready(sender: Any, **_: Any) -> None:
    if sender.app in _apps:
        systemd.ready(f"{len(sender.scheduler.schedule)} periodic tasks")
