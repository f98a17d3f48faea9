"""The command `mosaic`."""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import Any

import click
import pika.exceptions
from amqp.exceptions import AMQPError
from kombu.exceptions import KombuError
from sqlalchemy.exc import SQLAlchemyError

from mosaic import __version__
from mosaic.config import ConfigError, config_path, load_config
from mosaic.drill.commands import drill
from mosaic.logging_setup import configure_logging


class Commands(click.Group):
    """Shows an expected error as one sentence; exit code 2: wrong configuration, 1: a service fails."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            _fail(str(error), 2)
        except SQLAlchemyError as error:
            cause = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            _fail(f"the database reports an error: {cause}; check database.url in {config_path()}.", 1)
        except (AMQPError, KombuError, pika.exceptions.AMQPError, OSError) as error:
            cause = str(error) or type(error).__name__
            _fail(f"the broker does not answer: {cause}; check broker.url and the proxy on this host.", 1)


def _fail(sentence: str, code: int) -> None:
    click.echo(f"mosaic: {sentence}", err=True)
    sys.exit(code)


@click.group(cls=Commands)
@click.version_option(__version__)
def main() -> None:
    """Warren's sample application; configuration: MOSAIC_CONFIG, or /etc/mosaic/mosaic.toml."""


@main.command("config-check")
def config_check() -> None:
    """Check the configuration."""
    config = load_config()
    click.echo(f"ok: {config_path()} of {config.host}")


@main.command()
def migrate() -> None:
    """Upgrade the database schema to the newest version; needs the configuration of the schema's owner."""
    from mosaic.ledger.database import make_engine
    from mosaic.migrate import migrate as run

    revision, changed = run(make_engine(load_config().database.url))
    click.echo(f"{'changed' if changed else 'unchanged'}: {revision}")


@main.command()
def declare() -> None:
    """Declare exchanges, queues and bindings, also those of delayed delivery."""
    from celery_durable import declare_queues
    from mosaic import topology
    from mosaic.celery import current_app

    new = declare_queues(current_app(), topology.shared_task_queues(), topology.plain_queues())
    click.echo(f"declared: {new} new")


@main.command()
def gateway() -> None:
    """Serve the HTTP gateway on its Unix socket."""
    from celery_durable.metrics import measure_publishing

    from mosaic.celery import current_app, name_connections
    from mosaic.gateway.app import serve
    from mosaic.publish import publish

    config = load_config()
    if config.gateway is None:
        raise ConfigError(f"{config_path()}: the table [gateway] is missing.")
    configure_logging()
    measure_publishing("gateway")
    app = current_app()
    name_connections(app.conf, f"gateway@{config.host}")
    serve(config, partial(publish, app))


main.add_command(drill)


@main.command("log-store")
def log_store() -> None:
    """Store the log records of all hosts in the database."""
    from mosaic.logs.store import LogStore

    configure_logging()
    config = load_config()
    LogStore(config.broker, config.host).serve()


@main.command()
def metrics() -> None:
    """Serve this host's metrics for Prometheus."""
    from mosaic.metrics.service import serve

    configure_logging()
    load_config()
    serve()


@main.command()
@click.argument("hosts", nargs=-1, required=True)
@click.option("--timeout", default=20.0, show_default=True, help="Seconds to wait for all answers.")
def probe(hosts: tuple[str, ...], timeout: float) -> None:
    """Let each of HOSTS execute one task; print the answers as JSON. Exit code 1 if one is missing."""
    from mosaic.celery import current_app
    from mosaic.probe import probe_hosts

    wanted = list(dict.fromkeys(hosts))
    answers = probe_hosts(current_app(), wanted, timeout)
    click.echo(json.dumps(answers))
    missing = sorted(set(wanted) - {answer["host"] for answer in answers})
    if missing:
        _fail(
            f"no answer within {timeout:g} s from {', '.join(missing)}: read the log of the worker there.", 1
        )
