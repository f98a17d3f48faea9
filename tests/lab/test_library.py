"""celery_durable in a separate application, on this lab's brokers."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.lab.commands import ROOT, UserLab, wait_for
from tests.lab.library import Elsewhere, elsewhere, is_ready

POOLS = ("prefork", "threads", "gevent", "solo")
README = (ROOT / "celery_durable" / "README.md").read_text(encoding="utf-8")
APP, PUBLISH = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[:2]

TASKS = 20
DELAYED = 3
WORKS = """
import os, time
from pathlib import Path
from celery import Celery
from celery_durable import ConfirmWindow, make_durable

app = make_durable(Celery("works"))


def note(pool, name):
    with Path(f"{pool}.done").open("a") as file:
        file.write(f"{name} {time.time()}\\n")


@app.task
def work(pool, number, seconds=0.1):
    time.sleep(seconds)
    note(pool, number)


@app.task
def fan_out(pool):
    with ConfirmWindow(app, timeout=20) as window:
        window.send_many(work, [(pool, f"inner-{number}") for number in range(3)], queue=pool)
    note(pool, "outer")
"""
SEND = f"""
import sys, time
from celery_durable import ConfirmWindow
from works import app, fan_out, work
with ConfirmWindow(app, timeout=20) as window:
    for pool in {POOLS!r}:
        if sys.argv[1:] == ["more"]:
            window.send_many(work, [(pool, f"late-{{n}}", 0.5) for n in range(8)], queue=pool)
            continue
        window.send_many(work, [(pool, n) for n in range({TASKS})], queue=pool)
        window.send_many(work, [(pool, f"delayed-{{n}}") for n in range({DELAYED})], queue=pool, countdown=3)
        fan_out.apply_async((pool,), queue=pool, producer=window)
print(time.time())
"""
EXPECTED = {
    *map(str, range(TASKS)),
    *(f"delayed-{number}" for number in range(DELAYED)),
    *(f"inner-{number}" for number in range(3)),
    "outer",
}
LATE = {f"late-{number}" for number in range(8)}


@pytest.fixture(scope="module")
def place(lab: UserLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elsewhere]:
    """A folder with two applications, and a vhost for them."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "shop.py").write_text(APP, encoding="utf-8")
    (folder / "works.py").write_text(WORKS, encoding="utf-8")
    with elsewhere(lab, folder) as found:
        yield found


@pytest.fixture(scope="module")
def declared(place: Elsewhere) -> list[int]:
    """Number of missing queues and exchanges at the first and at the second declaration."""
    code = "from works import app; from celery_durable import declare_queues as d; print(d(app), d(app))"
    done = place.run(code)
    assert done.returncode == 0, done.stderr
    return [int(number) for number in done.stdout.split()]


def lines(place: Elsewhere, pool: str) -> dict[str, float]:
    """Names of the tasks that this pool's workers executed, each with its last time."""
    file = place.folder / f"{pool}.done"
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    return {name: float(at) for name, at in (line.split() for line in text.splitlines())}


@pytest.fixture(scope="module")
def lived(place: Elsewhere, declared: list[int]) -> dict[str, int]:
    """Workers of all pools: publish, close connections, finish, publish more, stop the workers, finish.

    Returns their exit statuses, the time of publishing ("sent") and the number of closed connections ("cut").
    """
    workers: dict[str, subprocess.Popen[str]] = {
        pool: place.worker("works", pool, "-P", pool, "-c", "2") for pool in POOLS
    }
    is_ready(place, *POOLS)
    sent = place.run(SEND)
    assert sent.returncode == 0, sent.stderr
    cut = place.relay.cut()
    wait_for("all is done", 60, lambda: all(lines(place, pool).keys() >= EXPECTED for pool in POOLS))
    more = place.run(SEND.replace("sys.argv[1:]", '["more"]'))
    assert more.returncode == 0, more.stderr
    wait_for("each has begun", 20, lambda: all(lines(place, pool).keys() & LATE for pool in POOLS))
    for worker in workers.values():
        worker.send_signal(signal.SIGTERM)
    statuses = {pool: worker.wait(30) for pool, worker in workers.items()}
    rest = place.worker("works", ",".join(POOLS), "-P", "threads", "-c", "16")
    wait_for("the rest is done", 60, lambda: all(lines(place, pool).keys() >= LATE for pool in POOLS))
    rest.send_signal(signal.SIGTERM)
    rest.wait(30)
    return {**statuses, "sent": int(float(sent.stdout)), "cut": cut}


def test_declaring_counts_what_was_missing(declared: list[int]) -> None:
    # A queue and its exchange, 28 of each for delays, and the exchange that delivers them.
    assert declared == [2 + 2 * 28 + 1, 0]


@pytest.mark.parametrize("pool", POOLS)
def test_no_task_is_lost_with_a_connection_or_a_worker(
    place: Elsewhere, lived: dict[str, int], pool: str
) -> None:
    assert lived["cut"] >= len(POOLS)
    assert lines(place, pool).keys() == EXPECTED | LATE


@pytest.mark.parametrize("pool", POOLS)
def test_a_stopped_worker_exits_with_status_0(place: Elsewhere, lived: dict[str, int], pool: str) -> None:
    assert lived[pool] == 0, place.said(pool)[-2000:]


@pytest.mark.parametrize("pool", POOLS)
def test_a_task_with_a_countdown_waits_on_the_broker(
    place: Elsewhere, lived: dict[str, int], pool: str
) -> None:
    done = lines(place, pool)
    assert min(done[f"delayed-{number}"] for number in range(DELAYED)) - lived["sent"] > 2
    assert "block the worker" not in place.said(pool)


@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_starts_without_mingle(place: Elsewhere, lived: dict[str, int], pool: str) -> None:
    assert "mingle" not in place.said(pool)


def test_the_example_of_the_readme(place: Elsewhere, declared: list[int]) -> None:
    worker = place.worker("shop", "celery", "-c", "1")
    done = place.run(PUBLISH)
    assert done.returncode == 0, done.stderr
    wait_for("the example's tasks", 40, lambda: place.said("celery").count(" succeeded in ") == 3)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(30) == 0


CLASSIC = """
from kombu import Connection, Exchange, Queue
import os
with Connection(os.environ["CELERY_BROKER_URL"]) as connection:
    queue = Queue("old", Exchange("old"), "old", queue_arguments={"x-queue-type": "classic"})
    queue(connection).declare()
"""
PRODUCERS = {
    "celery": "work.apply_async(('old', 1), queue='old')",
    "window": "work.apply_async(('old', 1), queue='old', producer=window)",
}


@pytest.fixture(scope="module")
def classic(place: Elsewhere) -> None:
    """A classic queue `old`, and its direct exchange, as plain Celery declares them."""
    done = place.run(CLASSIC)
    assert done.returncode == 0, done.stderr


def test_a_classic_queue_ends_the_worker_with_a_sentence(place: Elsewhere, classic: None) -> None:
    worker = place.worker("works", "old", "-P", "solo")
    assert worker.wait(40) == 78
    (sentence,) = [line for line in place.said("old").splitlines() if "CRITICAL" in line]
    assert "inequivalent arg" in sentence
    assert "rabbitmqctl delete_queue NAME" in sentence
    assert "Traceback" not in place.said("old")


@pytest.mark.parametrize("producer", PRODUCERS)
def test_a_classic_queue_raises_an_error_in_the_producer(
    place: Elsewhere, classic: None, producer: str
) -> None:
    code = f"from works import *\nwith ConfirmWindow(app, timeout=20) as window:\n    {PRODUCERS[producer]}"
    done = place.run(code)
    assert done.returncode == 1
    error = done.stderr.rpartition("PreconditionFailed")[2]
    assert "rabbitmqctl delete_queue NAME" in error
