"""Counting primes: known counts, resuming at any checkpoint, and the limits of a request."""

from __future__ import annotations

import datetime
import itertools
import json
import random
from typing import Any

import pytest
from celery import Celery
from conftest import RecordingPublisher
from fastapi.testclient import TestClient
from mosaic.kinds.primes import DEFAULT_UP_TO, MAX_PARTS, MAX_UP_TO
from mosaic.kinds.primes.plan import MAX_NUMBERS_A_PART, PrimesRequest, plan
from mosaic.kinds.primes.sieve import Tally, tallies
from mosaic.ledger.database import transaction
from mosaic.ledger.jobs import TaskCall
from mosaic.ledger.models import Part
from mosaic.ledger.work import MOST_LOST_SECONDS
from pydantic import ValidationError
from sqlalchemy import update
from test_mosaic_gateway import run_all

# How many primes there are up to a power of ten, and the largest of them: https://oeis.org/A006880, A003618.
KNOWN = {
    1: (4, 7),
    2: (25, 97),
    3: (168, 997),
    4: (1229, 9973),
    5: (9592, 99991),
    6: (78498, 999983),
    7: (664579, 9999991),
    8: (5761455, 99999989),
}
WITNESSES = (2, 3, 5, 7, 11, 13)  # enough for numbers below 3.4 * 10^12


def last(tally: Tally, stop: int, segment: int) -> Tally:
    """Return the tally at the end."""
    *_, found = tallies(tally, stop, segment)
    return found


def is_prime(number: int) -> bool:
    """Tell by the test of Miller and Rabin."""
    if number < 15:
        return number in WITNESSES
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    return all(
        (x := pow(witness, odd, number)) in (1, number - 1)
        or any((x := x * x % number) == number - 1 for _ in range(twos - 1))
        for witness in WITNESSES
    )


@pytest.mark.parametrize(("power", "known"), KNOWN.items())
def test_known_counts(power: int, known: tuple[int, int]) -> None:
    found = last(Tally(0), 10**power + 1, 2**20)
    assert (found.at, found.primes, found.largest) == (10**power + 1, *known)


def test_every_small_range_is_counted_as_by_another_test() -> None:
    for low, high in itertools.combinations(range(130), 2):
        primes = [number for number in range(low, high) if is_prime(number)]
        assert last(Tally(low), high, 16) == Tally(high, len(primes), max(primes, default=0)), (low, high)


@pytest.mark.parametrize("low", [DEFAULT_UP_TO - 7000, MAX_UP_TO - 7001, 999_983**2 - 3000])
def test_large_range_is_counted_as_by_another_test(low: int) -> None:
    primes = [number for number in range(low, low + 7000) if is_prime(number)]
    assert last(Tally(low), low + 7000, 500) == Tally(low + 7000, len(primes), primes[-1])


def test_any_checkpoint_leads_to_the_same_count() -> None:
    whole = list(tallies(Tally(0), 10**6 + 1, 10_007))
    assert len(whole) > 40
    for tally in whole[:-1]:
        kept = Tally(**json.loads(json.dumps(vars(tally))))
        assert last(kept, 10**6 + 1, 4001) == whole[-1]


@pytest.mark.parametrize(("up_to", "parts"), [(10**6, 1), (10**6, 7), (1000, MAX_PARTS), (999_983, 3)])
def test_ranges_of_a_job_cover_every_number_once(up_to: int, parts: int) -> None:
    planned = plan(PrimesRequest(up_to=up_to, parts=parts)).parts
    ranges = [(part.params["from"], part.params["to"]) for part in planned if not part.joins]
    assert (len(ranges), ranges[0][0], ranges[-1][1]) == (parts, 0, up_to + 1)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(ranges))
    assert [part.joins for part in planned] == [False] * parts + [True]


def test_default_is_a_few_long_parts_and_may_be_a_single_one() -> None:
    assert len(plan(PrimesRequest()).parts) == 4
    assert plan(PrimesRequest(parts=1)).parts[0].params == {"from": 0, "to": 10**11 + 1}
    with pytest.raises(ValidationError, match="ask for 10 parts"):
        PrimesRequest(up_to=MAX_UP_TO, parts=9)
    largest = plan(PrimesRequest(up_to=MAX_UP_TO, parts=10)).parts[:10]
    assert max(part.params["to"] - part.params["from"] for part in largest) <= MAX_NUMBERS_A_PART + 1


def submit(client: TestClient, **wanted: Any) -> str:
    """Submit a count; return the job."""
    answer = client.post("/api/jobs/primes", json=wanted)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job"])


def test_primes_from_submission_to_result(
    client: TestClient, publisher: RecordingPublisher, app: Celery, republished: list[TaskCall]
) -> None:
    job = submit(client, up_to=10**7, parts=3)
    assert [call.task for call in publisher.calls] == ["mosaic.primes.count"] * 3
    run_all(app, publisher)
    assert [(call.task, call.priority) for call in republished] == [("mosaic.primes.sum", "high")]
    app.tasks[republished[0].task].apply(args=republished[0].args)
    shown = client.get(f"/api/jobs/{job}").json()
    assert (shown["state"], shown["done"], shown["progress"]) == ("done", 4, 1.0)
    result = client.get(f"/api/jobs/{job}/result").json()
    assert list(result.pop("seconds")) == ["worker-1"]
    assert result == {"up_to": 10**7, "primes": 664579, "largest": 9999991, "again": 0}


def test_part_resumes_with_the_time_that_other_hosts_spent(
    client: TestClient, publisher: RecordingPublisher, app: Celery, republished: list[TaskCall]
) -> None:
    job = submit(client, up_to=10**6, parts=1)
    tally = random.Random(7).choice(list(tallies(Tally(0), 10**6 + 1, 10_007)))
    state = {"tally": vars(tally), "seconds": {"worker-2": 30.0}}
    with transaction() as session:
        ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=90)
        values = {"attempts": 1, "progress": 0.4, "checkpoint": state, "reported_at": ago}
        session.execute(update(Part).where(~Part.joins).values(values))
    run_all(app, publisher)
    app.tasks[republished[0].task].apply(args=republished[0].args)
    result = client.get(f"/api/jobs/{job}/result").json()
    assert (result["primes"], result["largest"]) == KNOWN[6]
    assert list(result["seconds"]) == ["worker-1", "worker-2"]
    assert result["seconds"]["worker-2"] == 30.0
    assert result["again"] == MOST_LOST_SECONDS


def test_part_whose_checkpoint_is_its_end_is_done(
    client: TestClient, publisher: RecordingPublisher, app: Celery, republished: list[TaskCall]
) -> None:
    job = submit(client, up_to=10**6, parts=1)
    state = {"tally": vars(Tally(10**6 + 1, *KNOWN[6])), "seconds": {"worker-2": 30.0}}
    with transaction() as session:
        session.execute(update(Part).where(~Part.joins).values(progress=1.0, checkpoint=state))
    run_all(app, publisher)
    app.tasks[republished[0].task].apply(args=republished[0].args)
    assert client.get(f"/api/jobs/{job}/result").json()["primes"] == KNOWN[6][0]
