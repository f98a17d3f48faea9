"""Retry with a countdown

A task fails because something that it needs is not ready, and asks to run again after one second.
The worker publishes the task again with a delay, acknowledges the first message, and is free for other work
meanwhile.
The third attempt succeeds; another task never succeeds, and fails when its retries are used up.

Runs: client on a gateway; worker on every worker host

Question: Where does a task wait during its countdown?
Answer: With quorum queues in RabbitMQ: Celery publishes it to queues of delay (`celery_delayed_0` to `_27`),
whose TTLs add up to the countdown. With other queues it waits in the memory of a worker, and occupies its
prefetch.
"""

import time
from itertools import pairwise

from lesson import LAB, celery, check, play, work

app = celery(result_backend="rpc://")


@app.task(bind=True, max_retries=2)
def fetch(self, ready_at_attempt, seen=()):
    seen = [*seen, (LAB["host"], time.time())]
    if len(seen) < ready_at_attempt:
        raise self.retry(args=(ready_at_attempt, seen), countdown=1, exc=ConnectionError("not ready"))
    return seen


def client():
    good, hopeless = fetch.delay(3), fetch.delay(9)
    attempts = good.get(timeout=40)
    for number, (host, at) in enumerate(attempts, 1):
        print(f"  attempt {number} after {at - attempts[0][1]:.1f} s on {host}")
    gaps = [later[1] - earlier[1] for earlier, later in pairwise(attempts)]
    error = hopeless.get(timeout=40, propagate=False)
    print(f"  the hopeless task: {hopeless.state}, {error}")
    check("the third attempt succeeded", len(attempts) == 3, "Give it `ready_at_attempt` 3.")
    check("a second passed before each retry", min(gaps) > 0.9, "Set countdown=1.")
    check("the hopeless task failed", hopeless.state == "FAILURE", "max_retries ends it.")


def worker():
    work(app)


play(client, worker)
