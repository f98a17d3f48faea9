"""What the lessons share: the connection to a broker, checks, drawings, and faults.

`./lab tour` starts a lesson on a host of the lab, and writes one line of JSON to its standard input: the
password of the broker's user `tour`, the part that this process plays, and the hosts of the lab.
"""

from __future__ import annotations

import atexit
import base64
import json
import logging
import os
import queue
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pika

# Without a buffer: a process that a lesson forks must not inherit the lock of a buffer that a thread reads.
_stdin = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115 - open to the end
LAB = json.loads(_stdin.readline())
#: Through HAProxy of this host, as the applications do. The vhost `tour` exists for these lessons only.
URL = f"amqp://tour:{LAB['password']}@127.0.0.1:5672/tour"
MANAGEMENT = "http://127.0.0.1:15672/api"

os.environ["no_proxy"] = "*"  # no proxy reaches the hosts of the lab
logging.getLogger("pika").setLevel(logging.CRITICAL)  # lessons lose connections on purpose
_answers: queue.Queue[bytes] = queue.Queue()


def connect(seconds: float = 30.0) -> pika.BlockingConnection:
    """A connection to a healthy broker. While brokers fail, it tries again for `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return pika.BlockingConnection(pika.URLParameters(URL))
        except (pika.exceptions.AMQPError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def check(claim: str, true: object, hint: str) -> None:
    """Print the claim when it is true; otherwise end the lesson, and print the hint."""
    print(f"✓ {claim}" if true else f"✗ not true: {claim}\n  {hint}")
    if not true:
        sys.exit(1)


def bar(label: str, count: float, unit: str = "", scale: float = 1.0) -> None:
    """Print a line of a drawing: one mark for each `scale` of `count`."""
    print(f"  {label:<24} {'#' * round(count / scale):<40} {count:g} {unit}".rstrip())


def waiting(channel: Any, name: str) -> int:
    """How many messages wait in a queue, as the broker knows it now."""
    return int(channel.queue_declare(name, passive=True).method.message_count)


def take(channel: Any, name: str) -> Iterator[str]:
    """Receive and acknowledge the messages that are in a queue now."""
    while (message := channel.basic_get(name, auto_ack=True))[0]:
        yield message[2].decode()


def wait_until(true: Callable[[], object], seconds: float = 20.0) -> bool:
    """Wait until `true()`; False when it is not true after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return bool(found)


def get(url: str, method: str = "GET") -> Any:
    """The JSON document of RabbitMQ's management API, as the user `tour` sees it."""
    request = urllib.request.Request(MANAGEMENT + url, method=method)
    request.add_header(
        "Authorization", "Basic " + base64.b64encode(f"tour:{LAB['password']}".encode()).decode()
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.loads(response.read() or "null")


def leader(name: str) -> str:
    """The broker that leads a queue."""
    found = get(f"/queues/tour/{name}")
    return str(found.get("leader", found["node"]).removeprefix("rabbit@"))


def kill_broker(host: str) -> None:
    """Let ./lab send SIGKILL to RabbitMQ on a host; systemd starts it again."""
    print(json.dumps({"kill_broker": host}))
    _answers.get()


def play(*parts: Callable[[], None]) -> None:
    """Call the function whose name is the part of this host."""
    {part.__name__: part for part in parts}[LAB["part"]]()


def celery(**settings: Any) -> Any:
    """A Celery application that uses the lab's brokers, with quorum queues."""
    from celery import Celery

    app = Celery("tour", broker=URL)
    app.conf.update(
        task_default_queue="tour",
        task_default_queue_type="quorum",
        task_default_exchange_type="topic",
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        **settings,
    )
    return app


def work(app: Any, *options: str) -> None:
    """Run a worker of the application in this process, with two pool processes, until the lesson ends."""
    for name in ("celery", "multiprocessing"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    quiet = (
        "--loglevel=CRITICAL",
        "--without-gossip",
        "--without-mingle",
        "--without-heartbeat",
        "--concurrency=2",
    )
    app.worker_main(["--quiet", "worker", *quiet, *options])


def _clean() -> bool:
    """Delete the queues and the exchanges of the lesson; False when a broker does not answer."""
    try:
        for kind in ("queues", "exchanges"):
            for found in get(f"/{kind}/tour?disable_stats=true&enable_queue_totals=true"):
                if found["name"] and not found["name"].startswith(("amq.", "celery_delayed")):
                    get(f"/{kind}/tour/{urllib.parse.quote(found['name'], safe='')}", "DELETE")
    except OSError:
        return False
    return True


def _end() -> None:
    """Let ./lab end the other processes of the lesson and repair brokers; then clean up."""
    if os.getpid() == _process:  # not in a process that the lesson forked
        print(json.dumps({"ended": True}))
        _answers.get()
        wait_until(_clean)


def _listen() -> None:
    """Pass on the answers of ./lab; end the process when ./lab has ended or ends the lesson."""
    for line in _stdin:
        _answers.put(line)
    os._exit(0)


_process = os.getpid()
if LAB["main"]:
    atexit.register(_end)
threading.Thread(target=_listen, daemon=True).start()
