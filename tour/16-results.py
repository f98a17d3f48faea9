"""Results

A task returns a value or raises an exception, and the worker stores this in the result backend.
The client waits for it: it gets the value, or the exception is raised again in the client.
You see the states of a result, and what Celery answers for a task that never existed.

Runs: client on a gateway; worker on a worker host

Question: A result is PENDING. Is the task waiting in a queue?
Answer: Perhaps. PENDING means that the result backend knows nothing: the task waits, or its message is lost,
or its id is wrong. The lab's application therefore writes each part of a job to its database before it
publishes the task.
"""

import time

from celery.exceptions import TimeoutError as NoResultYet
from lesson import celery, check, play, work

app = celery(result_backend="rpc://", task_track_started=True)


@app.task
def divide(a, b, seconds=0.0):
    time.sleep(seconds)
    return a / b


def outcome(result, timeout):
    try:
        return result.get(timeout=timeout)
    except (ArithmeticError, NoResultYet) as error:
        return type(error).__name__


def client():
    good, bad, slow = divide.delay(10, 4), divide.delay(1, 0), divide.delay(9, 3, seconds=2)
    outcomes = [outcome(good, 30), outcome(bad, 30), outcome(slow, 1)]
    for call, result, found in zip(("10 / 4", "1 / 0", "slow"), (good, bad, slow), outcomes, strict=True):
        print(f"  {call:<8} {result.state:<8} {found}")
    unknown = app.AsyncResult("no-such-id").state
    print(f"  an id that never existed: {unknown}")
    check("the value arrives", outcomes[0] == 2.5, "Does the task return its value?")
    check("the exception arrives", outcomes[1] == "ZeroDivisionError", "Let the task raise it.")
    check(
        "a wait ends before the task does",
        outcomes[2] == "TimeoutError",
        "The task must take longer than 1 s.",
    )
    check("the slow task still ends", outcome(slow, 30) == 3, "A timeout of get() does not stop the task.")
    check("an unknown id is PENDING", unknown == "PENDING", "Use an id that no task has.")


def worker():
    work(app)


play(client, worker)
