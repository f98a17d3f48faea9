"""Reports to systemd when a worker consumes and when beat has started, for any Celery application.

As a module of a worker (`celery worker --include lab_celery`) it adds a step to the worker's consumer, and
the task lab.ping. As a program (`python lab_celery.py ARGUMENT...`) it is the command `celery`, with this
folder on the path for --include, and it reports for beat, which has no --include. Beat then also deletes
expired results, and continues after the clock was set back. As
`python lab_celery.py ping APP QUEUE...` it publishes lab.ping to each queue, and prints JSON: for each queue
the worker that answered and the seconds from publishing to the result.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

PING = "lab.ping"
ANSWER_S = 30.0
SCHEDULE_SECONDS = 5.0
CLEANUP = "celery.backend_cleanup"
CLEANUP_SECONDS = 3600.0
STEP_SECONDS = 1.0


def notify(*lines: str) -> None:
    """Send lines, each NAME=value, to systemd, as sd_notify(3) does; without systemd do nothing."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        try:
            channel.sendto("\n".join(lines).encode(), "\0" + address[1:] if address[0] == "@" else address)
        except OSError as error:
            print(f"lab_celery: systemd does not take a message ({error})", flush=True)


def main() -> None:
    """Run the command `celery`, or publish lab.ping."""
    stay_in_release()
    if sys.argv[1:2] == ["ping"]:
        ping(sys.argv[2], sys.argv[3:])
        return
    from celery.__main__ import main as celery

    if "beat" in sys.argv:  # no import before the command patches what a pool of gevent needs
        from celery.signals import beat_init

        beat_init.connect(report_beat)
    celery()


def ping(name: str, queues: list[str]) -> None:
    """Publish lab.ping to each queue, with the application's own configuration, and print the answers."""
    from celery.app.utils import find_app

    sys.path.insert(0, str(Path.cwd()))  # as the command `celery` does
    application = find_app(name)
    answers = []
    for queue in queues:
        started = time.monotonic()
        # A worker that is not there must not find the task later.
        result = application.send_task(PING, queue=queue, ignore_result=False, expires=ANSWER_S)
        worker = result.get(timeout=ANSWER_S, interval=0.05)
        answers.append({"queue": queue, "worker": worker, "seconds": time.monotonic() - started})
    print(json.dumps(answers))


def stay_in_release() -> None:
    """Start again from the folder that the path of this virtual environment names now, and lock its release.

    The path has the link `current`. When the link changes, this process must import the rest of its old
    release, which activate-release keeps while a process has locked it.
    """
    if sys.prefix == sys.base_prefix:
        return
    environment = Path(sys.prefix).resolve()
    if sys.prefix != str(environment):
        program = str(environment / "bin" / Path(sys.executable).name)
        os.execv(program, [program, *sys.orig_argv[1:]])  # noqa: S606
    with suppress(PermissionError):  # then it is no release, but an environment of another role
        fcntl.flock(os.open(environment.parent, os.O_RDONLY), fcntl.LOCK_SH)


def report_beat(sender: Any, **_: Any) -> None:
    """Report that beat publishes, to systemd, and its schedule as Celery events."""
    scheduler, latest = sender.scheduler, deque(maxlen=1)
    delete_expired_results(sender.app, scheduler)
    notify("READY=1", "STATUS=publishing periodic tasks")
    tick, ahead = scheduler.tick, wall_clock_ahead()

    def ticking(*arguments: Any, **options: Any) -> Any:
        nonlocal ahead
        before, ahead = ahead, wall_clock_ahead()
        if ahead < before - STEP_SECONDS:
            forget_future_runs(scheduler)
        # In the thread of beat: only this one may read the schedule, which can be a file or a database.
        pause = tick(*arguments, **options)
        with suppress(Exception):
            latest.append([described(entry) for entry in scheduler.schedule.values()])
        return pause

    scheduler.tick = ticking
    threading.Thread(target=send_schedule, args=(sender.app, latest), daemon=True).start()


def delete_expired_results(app: Any, scheduler: Any) -> None:
    """Add Celery's clean-up of results, which celery.beat.Scheduler removes from its schedule when it starts.

    Celery's own entry is due at 4:00, which a beat that is restarted, or stopped for the night, would miss.
    """
    from celery.backends.base import Backend
    from celery.beat import Scheduler

    removes = type(scheduler).setup_schedule is Scheduler.setup_schedule and CLEANUP not in scheduler.schedule
    keeps = app.conf.result_expires and type(app.backend).cleanup is not Backend.cleanup
    if removes and keeps:
        entry = {"task": CLEANUP, "schedule": CLEANUP_SECONDS, "options": {"expires": CLEANUP_SECONDS}}
        scheduler.update_from_dict({CLEANUP: entry})


def wall_clock_ahead() -> float:
    """Return how far the wall clock is ahead of the monotonic clock, in seconds."""
    return time.time() - time.monotonic()


def forget_future_runs(scheduler: Any) -> None:
    """Let no entry wait until the clock reaches its last run again, after the clock was set back."""
    with suppress(Exception):
        for entry in scheduler.schedule.values():
            now = entry.schedule.now()
            if entry.schedule.maybe_make_aware(entry.last_run_at) > now:
                entry.last_run_at = now
    scheduler._heap = None  # the times at which entries are due


def described(entry: Any) -> dict[str, Any]:
    """Return an entry of a schedule; times are in seconds since 1970."""
    schedule, last = entry.schedule, entry.last_run_at
    due = None
    with suppress(Exception):
        # Not is_due(), which changes some schedules in a database.
        due = time.time() + schedule.remaining_estimate(last).total_seconds()
    every = getattr(schedule, "run_every", None)
    return {
        "name": str(entry.name),
        "task": str(entry.task),
        "every": every.total_seconds() if every is not None else str(schedule),
        "last": last.timestamp() if last is not None and entry.total_run_count else None,
        "next": due,
        "runs": int(entry.total_run_count or 0),
    }


def send_schedule(app: Any, latest: deque[list[dict[str, Any]]]) -> None:
    """Send the latest schedule every few seconds as the event `beat-schedule`, on a connection of its own."""
    while True:
        with suppress(Exception), app.connection_for_write(heartbeat=0, connect_timeout=4) as connection:
            hostname = f"beat@{socket.gethostname()}"
            events = app.events.Dispatcher(connection, hostname=hostname, buffer_while_offline=False)
            while True:
                if latest:
                    events.send("beat-schedule", entries=latest[0])
                time.sleep(SCHEDULE_SECONDS)
        time.sleep(SCHEDULE_SECONDS)


def add_to_worker() -> None:
    """Add the step and the task to the application of this worker."""
    from celery import bootsteps
    from celery.app import default_app

    class Report(bootsteps.StartStopStep):
        """Reports what the consumer does each time that it connects, and when it lost its connection."""

        requires = ("celery.worker.consumer.tasks:Tasks",)

        def start(self, consumer: Any) -> None:
            """Report once the loop of the consumer runs: only then it has subscribed to its queues."""
            names = " ".join(sorted(consumer.app.amqp.queues.consume_from))
            consumer.call_soon(notify, "READY=1", f"STATUS=consuming {names}")

        def stop(self, consumer: Any) -> None:  # noqa: ARG002 - Celery passes it
            """Report that nothing is consumed."""
            notify("STATUS=not connected to a broker")

    # A worker makes its application the default before it imports modules.
    default_app.steps["consumer"].add(Report)

    @default_app.task(name=PING, bind=True, ignore_result=False)
    def answer(task: Any) -> str:
        """Return the name of the worker."""
        return str(task.request.hostname)


if __name__ == "__main__":
    main()
else:
    add_to_worker()
