"""Rate limits and time limits

A rate limit lets a worker start only so many tasks of a kind in a second; the others wait in the worker.
A soft time limit raises an exception in a task that runs too long, so that it can clean up.
A hard time limit kills the pool process of the task, and the worker starts another one.

Runs: client on a gateway; worker on a worker host

Question: Five workers have a rate limit of 10/s. How many tasks start in a second?
Answer: Up to 50: each worker has its own limit. To protect a service against all of them, use one queue with
one worker, or a counter that they share.
"""

import time

from billiard.exceptions import SoftTimeLimitExceeded
from lesson import bar, celery, check, play, work

app = celery(result_backend="rpc://")


@app.task(rate_limit="10/s")
def limited():
    return time.time()


@app.task
def unlimited():
    return time.time()


@app.task(soft_time_limit=1)
def tidy():
    try:
        time.sleep(30)
    except SoftTimeLimitExceeded:
        return "cleaned up"


@app.task(time_limit=1)
def stubborn():
    time.sleep(30)


def client():
    seconds = {}
    for task in (unlimited, limited):
        times = [result.get(timeout=30) for result in [task.delay() for _ in range(20)]]
        seconds[task] = max(times) - min(times)
        bar(task.name, round(seconds[task], 1), "s for 20 tasks", scale=0.1)
    soft, hard = tidy.delay(), stubborn.delay()
    print(f"  soft limit: {soft.get(timeout=30)}; hard limit: {hard.get(timeout=30, propagate=False)!r}")
    check(
        "the rate limit slows the tasks down", seconds[limited] > 1.5 > seconds[unlimited], "Set rate_limit."
    )
    check("after the soft limit the task cleaned up", soft.get() == "cleaned up", "Catch the exception.")
    check("after the hard limit the task failed", hard.state == "FAILURE", "Set time_limit.")


def worker():
    work(app)


play(client, worker)
