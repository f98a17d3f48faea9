"""Rate and CPU time of publishing, each arm beside the others on one broker.

    python celery_durable/tests/measure_publish.py amqp://user:password@host:5672/vhost

Every arm publishes the same tasks, of the same size and with a tracing header, to a quorum queue, and waits
for all publisher confirms. The arms take turns in one process. `raw again` shows how much two equal arms
differ. Prints medians: the rate and its range, the CPU time, and the ratios to `raw` and to `celery` of the
same turn. It deletes its queue.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import amqp
from celery import Celery, signals

from celery_durable import ConfirmWindow, declare_queues, make_durable

QUEUE = TASK = "measure-publish"
WINDOW = 200
THREADS = 16
HEADERS = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
Publish = Callable[[Celery, int], None]


def application(url: str) -> Celery:
    """Return a durable application with one queue, which is declared."""
    app = make_durable(Celery("measure", broker=url, set_as_current=False))
    app.conf.update(task_default_queue=QUEUE, task_ignore_result=True)
    declare_queues(app)
    return app


def send_many(app: Celery, count: int) -> None:
    """Publish by the window's send_many."""
    with ConfirmWindow(app, size=WINDOW) as window:
        window.send_many(TASK, ((number,) for number in range(count)), headers=HEADERS)


def send_task(app: Celery, count: int) -> None:
    """Publish each task by send_task, with the window as its producer."""
    with ConfirmWindow(app, size=WINDOW) as window:
        for number in range(count):
            app.send_task(TASK, (number,), headers=HEADERS, producer=window)  # type: ignore[arg-type]


def with_receiver(app: Celery, count: int) -> None:
    """Publish by send_many while a receiver of before_task_publish adds the header."""

    def trace(headers: dict[str, Any], **_: Any) -> None:
        headers.update(HEADERS)

    signals.before_task_publish.connect(trace)
    try:
        with ConfirmWindow(app, size=WINDOW) as window:
            window.send_many(TASK, ((number,) for number in range(count)))
    finally:
        signals.before_task_publish.disconnect(trace)


def threads(app: Celery, count: int) -> None:
    """Publish single tasks in threads that share a window; each waits for the confirm of its task."""
    with ConfirmWindow(app, size=WINDOW) as window, ThreadPoolExecutor(THREADS) as pool:

        def publish(number: int) -> None:
            app.send_task(TASK, (number,), headers=HEADERS, producer=window)  # type: ignore[arg-type]
            window.flush()

        list(pool.map(publish, range(count)))


def celery(app: Celery, count: int) -> None:
    """Publish by Celery with its setting confirm_publish."""
    for number in range(count):
        app.send_task(TASK, (number,), headers=HEADERS)


def celery_threads(app: Celery, count: int) -> None:
    """The same in threads."""
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda number: app.send_task(TASK, (number,), headers=HEADERS), range(count)))


def raw(app: Celery, count: int) -> None:
    """Publish the messages of such tasks by py-amqp alone, with the same number of unconfirmed messages."""
    info = app.connection_for_write().info()
    headers = {
        "lang": "py",
        "task": TASK,
        "shadow": None,
        "eta": None,
        "expires": None,
        "group": None,
        "group_index": None,
        "retries": 0,
        "timelimit": [None, None],
        "parent_id": None,
        "kwargsrepr": "{}",
        "origin": "gen1@host",
        "ignore_result": True,
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
        **HEADERS,
    }
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    confirmed = 0

    def on_ack(tag: int, multiple: bool) -> None:
        nonlocal confirmed
        confirmed = tag if multiple else confirmed + 1

    host, user, password = f"{info['hostname']}:{info['port']}", info["userid"], info["password"]
    with amqp.Connection(host, user, password, virtual_host=info["virtual_host"]) as connection:
        channel = connection.channel()
        channel.confirm_select()
        channel.events["basic_ack"].add(on_ack)
        for number in range(count):
            task_id = str(uuid.uuid4())
            message = amqp.Message(
                json.dumps([[number], {}, embed]),
                content_type="application/json",
                content_encoding="utf-8",
                application_headers={
                    **headers,
                    "id": task_id,
                    "root_id": task_id,
                    "argsrepr": repr((number,)),
                },
                delivery_mode=2,
                priority=0,
                correlation_id=task_id,
                reply_to="",
            )
            channel.basic_publish(message, exchange=QUEUE, routing_key=QUEUE)
            while number + 1 - confirmed >= WINDOW:
                connection.drain_events(timeout=20)
        while confirmed < count:
            connection.drain_events(timeout=20)


# By name: how to publish, and with which part of the number of messages.
ARMS: dict[str, tuple[Publish, float]] = {
    "raw": (raw, 1),
    "send_many": (send_many, 1),
    "raw again": (raw, 1),
    "receiver": (with_receiver, 0.5),
    "send_task": (send_task, 0.5),
    "threads": (threads, 0.25),
    "celery": (celery, 0.1),
    "celery_threads": (celery_threads, 0.1),
}


def measure(app: Celery, arm: str, count: int) -> tuple[float, float]:
    """Run an arm; return messages a second, and microseconds of this process's CPU a message."""
    publish, part = ARMS[arm]
    number = max(1, int(count * part))
    publish(app, 5)  # connect
    begun, cpu = time.perf_counter(), time.process_time()
    publish(app, number)
    rate = number / (time.perf_counter() - begun)
    spent = (time.process_time() - cpu) / number * 1e6
    with app.connection_for_read() as connection:
        found = connection.default_channel.queue_purge(QUEUE)
    if found != number + 5:
        raise RuntimeError(f"{arm}: {found} messages are in the queue, not {number + 5}")
    return rate, spent


def main() -> None:
    """Measure the arms in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("url", help="of the broker")
    parser.add_argument("--count", type=int, default=4000, help="messages of the fast arms")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    chosen = parser.parse_args()
    app = application(chosen.url)
    found: dict[str, list[tuple[float, float]]] = {arm: [] for arm in chosen.arms}
    try:
        for _ in range(chosen.turns):
            for arm in chosen.arms:
                found[arm].append(measure(app, arm, chosen.count))
    finally:
        with app.connection_for_read() as connection:
            connection.default_channel.queue_delete(QUEUE)
    print("arm              messages/s   range            CPU us   of raw   of celery")
    for arm, figures in found.items():
        rates = [rate for rate, _ in figures]
        of_raw, of_celery = (
            statistics.median(rate / base for rate, (base, _) in zip(rates, found[other], strict=True))
            if other in found
            else float("nan")
            for other in ("raw", "celery")
        )
        spread = f"{min(rates):.0f} to {max(rates):.0f}"
        rate, cpu = statistics.median(rates), statistics.median(spent for _, spent in figures)
        print(f"{arm:16} {rate:10.0f}   {spread:14} {cpu:8.0f}   {of_raw:6.2f}   {of_celery:9.2f}")


if __name__ == "__main__":
    main()
