"""Counting primes: a task of several minutes for each range, which can resume, then their sum."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from celery import shared_task

from mosaic.config import load_config
from mosaic.kinds.primes.sieve import Tally, tallies
from mosaic.ledger import jobs, work
from mosaic.ledger.database import transaction
from mosaic.ledger.work import PartWork, Product
from mosaic.tasks.base import LongPartTask, PartTask


@shared_task(bind=True, base=LongPartTask, name="mosaic.primes.count", publishes_join=True)
def count(self: LongPartTask, part: PartWork) -> Product:
    """Count the primes of one range, from its checkpoint if there is one, with the seconds of each host."""
    low, high = int(part.params["from"]), int(part.params["to"])
    before: dict[str, Any] = part.checkpoint or {"tally": asdict(Tally(low)), "seconds": {}}
    host, seconds = load_config().host, dict(before["seconds"])
    since = time.monotonic() - seconds.get(host, 0.0)
    tally = Tally(**before["tally"])
    steps = tallies(tally, high)
    for tally in steps:
        seconds[host] = time.monotonic() - since
        self.checkpoint(part, (tally.at - low) / (high - low), {"tally": asdict(tally), "seconds": seconds})
    return Product(result={"primes": tally.primes, "largest": tally.largest, "seconds": seconds})


@shared_task(base=PartTask, name="mosaic.primes.sum")
def add_up(part: PartWork) -> Product:
    """Add the results of the ranges, the seconds of each host, and the seconds computed again."""
    with transaction() as session:
        found = jobs.part_results(session, part.job_id)
        again = work.seconds_again(session, part.job_id)
    seconds: dict[str, float] = {}
    for one in found:
        for host, spent in one["seconds"].items():
            seconds[host] = seconds.get(host, 0.0) + spent
    return Product(
        result={
            "up_to": part.job_params["up_to"],
            "primes": sum(one["primes"] for one in found),
            "largest": max(one["largest"] for one in found),
            "seconds": {host: round(spent, 1) for host, spent in sorted(seconds.items())},
            "again": round(again, 1),
        }
    )
