"""The command `mosaic`."""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import click
import pika.exceptions
from amqp.exceptions import AMQPError
from kombu.exceptions import KombuError
from sqlalchemy.exc import SQLAlchemyError

from mosaic import __version__
from mosaic.config import Config, ConfigError, config_path, load_config
from mosaic.drill.commands import drill
from mosaic.logging_setup import configure_logging


class Commands(click.Group):
    """Turns expected errors into one sentence: exit code 2 for configuration, 1 for what did not answer."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            _fail(str(error), 2)
        except SQLAlchemyError as error:
            cause = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            _fail(f"the database says no: {cause}; check database.url in {config_path()}.", 1)
        except (AMQPError, KombuError, pika.exceptions.AMQPError, OSError) as error:
            cause = str(error) or type(error).__name__
            _fail(f"the broker does not answer: {cause}; check broker.url and the proxy on this host.", 1)


def _fail(sentence: str, code: int) -> None:
    click.echo(f"mosaic: {sentence}", err=True)
    sys.exit(code)


@click.group(cls=Commands)
@click.version_option(__version__)
def main() -> None:
    """Work cut into parts that run on many hosts; configuration: MOSAIC_CONFIG or /etc/mosaic/mosaic.toml."""


@main.command("config-check")
def config_check() -> None:
    """Read the configuration and say whether it is right."""
    config = load_config()
    click.echo(f"ok: {config_path()} of {config.host}")


@main.command()
def migrate() -> None:
    """Bring the database's schema to the newest version; needs the schema owner's configuration."""
    from mosaic.ledger.database import make_engine
    from mosaic.migrate import migrate as run

    revision, changed = run(make_engine(load_config().database.url))
    click.echo(f"{'changed' if changed else 'unchanged'}: {revision}")


@main.command()
def declare() -> None:
    """Declare exchanges, queues, bindings and the levels of delayed delivery."""
    from celery_durable import declare_queues
    from mosaic import topology
    from mosaic.celery import current_app

    new = declare_queues(current_app(), topology.shared_task_queues(), topology.plain_queues())
    click.echo(f"declared: {new} new")


@main.command()
def gateway() -> None:
    """Serve the HTTP gateway on its unix socket."""
    from celery_durable.metrics import measure_publishing

    from mosaic.celery import current_app
    from mosaic.gateway.app import serve
    from mosaic.publish import publish

    config = load_config()
    if config.gateway is None:
        raise ConfigError(f"{config_path()}: the table [gateway] is missing.")
    configure_logging()
    measure_publishing("gateway")
    serve(config, partial(publish, current_app()))


main.add_command(drill)


def _service(serve: Callable[[Config], None]) -> None:
    configure_logging(logging.INFO)
    serve(load_config())


@main.command("log-ship")
def log_ship() -> None:
    """Publish this host's journal to the exchange mosaic.logs."""
    from mosaic.logs.ship import serve

    _service(serve)


@main.command("log-store")
def log_store() -> None:
    """Store the log records of all hosts in the database."""
    from mosaic.logs.store import serve

    _service(serve)


@main.command()
def metrics() -> None:
    """Serve this host's metrics for Prometheus."""
    from mosaic.metrics.service import serve

    _service(lambda _config: serve())


@main.command()
@click.argument("hosts", nargs=-1, required=True)
@click.option("--timeout", default=20.0, show_default=True, help="Seconds to wait for all answers.")
def probe(hosts: tuple[str, ...], timeout: float) -> None:
    """Have each of HOSTS execute one task; print who did, as JSON. Exit code 1 when one did not."""
    from mosaic.celery import current_app
    from mosaic.probe import probe_hosts

    wanted = list(dict.fromkeys(hosts))
    answers = probe_hosts(current_app(), wanted, timeout)
    click.echo(json.dumps([dataclasses.asdict(answer) for answer in answers]))
    missing = sorted(set(wanted) - {answer.host for answer in answers})
    if missing:
        _fail(f"no answer within {timeout:g} s from {', '.join(missing)}: see the worker's log there.", 1)
