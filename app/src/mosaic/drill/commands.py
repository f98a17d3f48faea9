"""`mosaic drill ...`: what a drill needs of the application, on a host that may publish and read."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

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


@click.group()
def drill() -> None:
    """Load with a ledger, for drills that break the lab on purpose."""


@drill.command()
@_run
@click.option("--profile", type=click.Choice(["lab", "stock"]), default="lab", show_default=True)
@click.option(
    "--rate", type=click.FloatRange(0.1, 1000), default=40.0, show_default=True, help="Units a second."
)
@click.option(
    "--seconds", type=click.FloatRange(0, 60), default=0.03, show_default=True, help="What a unit takes."
)
@click.option(
    "--limit",
    type=click.FloatRange(1, 86400),
    default=600.0,
    show_default=True,
    help="End after so many seconds.",
)
def load(run: str, profile: str, rate: float, seconds: float, limit: float) -> None:
    """Publish units until stdin ends; see mosaic.drill.load for the commands that it takes there."""
    from mosaic.drill import load as module
    from mosaic.drill.publishers import publishers

    configure_logging(logging.WARNING)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in sorted(FOLDER.glob("*.jsonl"), key=lambda file: file.stat().st_mtime)[:-KEPT_LEDGERS]:
        old.unlink(missing_ok=True)
    module.serve(module.Plan(run, rate, seconds, limit), FOLDER, publishers(profile))


@drill.command()
@_run
def ledger(run: str) -> None:
    """Print what the database and the publisher's file hold of a run, as JSON."""
    from mosaic.ledger import drills
    from mosaic.ledger.database import transaction

    file = FOLDER / f"{run}.jsonl"
    if not file.exists():
        raise click.UsageError(f"There is no ledger {file}; the run's load was published from another host.")
    entries = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    with transaction() as session:
        document = {
            "published": entries,
            "attempts": [_attempt(attempt) for attempt in drills.attempts(session, run)],
            "effects": {str(unit): attempt for unit, attempt in drills.effects(session, run).items()},
        }
    click.echo(json.dumps(document))


@drill.command()
@_run
def dead(run: str) -> None:
    """Take the run's dead letters out of their queue and print them, as JSON."""
    from mosaic import dead_letters
    from mosaic.logs.service import connect

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


def _attempt(attempt: Any) -> dict[str, Any]:
    return {
        "id": attempt.id,
        "unit": attempt.unit,
        "number": attempt.number,
        "host": attempt.host,
        "pid": attempt.pid,
        "redelivered": attempt.redelivered,
        "started": attempt.started_at.timestamp(),
        "ended": attempt.ended_at.timestamp() if attempt.ended_at else None,
        "outcome": attempt.outcome,
    }
