"""`mosaic drill ...`: commands for drills, on a host that may publish tasks and read the ledger."""

from __future__ import annotations

import json
import logging
import re
import sys
from pathlib import Path

import click

from mosaic.config import load_config
from mosaic.logging_setup import configure_logging

FOLDER = Path("/var/lib/mosaic/drills")
KEPT_LEDGERS = 50
_RUN = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def _run_name(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if not _RUN.fullmatch(value):
        raise click.BadParameter("use up to 63 lower-case letters, digits and hyphens")
    return value


_run = click.argument("run", callback=_run_name)


@click.group(context_settings={"show_default": True})
def drill() -> None:
    """Publish load with a ledger, for drills that break the lab on purpose."""


@drill.command()
@_run
@click.option("--rate", type=click.FloatRange(0.1, 1000), default=40.0, help="Units a second.")
@click.option("--seconds", type=click.FloatRange(0, 60), default=0.03, help="Seconds that a unit takes.")
@click.option("--limit", type=click.FloatRange(1, 86400), default=600.0, help="End after this many seconds.")
def load(run: str, rate: float, seconds: float, limit: float) -> None:
    """Publish units until stdin ends; mosaic.drill.load explains the commands on stdin."""
    from mosaic.drill.load import LedgerFile, Load, Plan, publishers

    configure_logging(logging.WARNING)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in sorted(FOLDER.glob("*.jsonl"), key=lambda file: file.stat().st_mtime)[:-KEPT_LEDGERS]:
        old.unlink(missing_ok=True)
    file = LedgerFile(FOLDER / f"{run}.jsonl")
    Load(Plan(run, rate, seconds, limit), file, publishers()).serve(sys.stdin)


@drill.command()
@_run
def ledger(run: str) -> None:
    """Print the ledger of a run as JSON: the producer's file, the attempts and the effects."""
    from mosaic.ledger import drills
    from mosaic.ledger.database import transaction

    file = FOLDER / f"{run}.jsonl"
    if not file.exists():
        raise click.UsageError(f"{file} does not exist: run this on the host that published the load.")
    entries = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    with transaction() as session:
        document = {
            "published": entries,
            "attempts": drills.attempts(session, run),
            "effects": drills.effects(session, run),
        }
    click.echo(json.dumps(document))


@drill.command()
@_run
def dead(run: str) -> None:
    """Remove the run's dead letters from their queue and print them as JSON."""
    from mosaic import dead_letters
    from mosaic.service import connect

    own = re.compile(rf"{run}-\d+")
    broker = load_config().broker
    with connect(broker.url, broker.heartbeat, "drill-dead", attempts=4) as connection:
        letters = dead_letters.drop_all(connection, lambda letter: bool(own.fullmatch(letter.id)))
    answer = [
        {
            "unit": int(letter.id.removeprefix(f"{run}-")),
            "reason": letter.reason,
            "queue": letter.queue,
            "count": letter.count,
        }
        for letter in letters
    ]
    click.echo(json.dumps(answer))
