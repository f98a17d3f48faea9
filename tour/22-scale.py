"""More workers, more throughput

Every worker host consumes one queue whose tasks wait 500 ms: first one host works, then all of them, and you
see the throughput of both.
Then one host is taken away while tasks run: its worker stops to consume, and no task is lost.
A program on a node cannot make nodes, so here only workers start and stop to consume; ./lab scale workers=5
does it with whole hosts.

Needs: 2 workers
Runs: client on a gateway; worker on every worker host

Question: Ten times as many hosts, and the work is only three times as fast. Where do you look?
Answer: At what all of them share: a database that is busy, a lock, a service with a limit, or one long task
that ends last. More workers help only while tasks wait in the queue.
"""

import time

from lesson import LAB, bar, celery, check, play, wait_until, work

app = celery(result_backend="rpc://", worker_soft_shutdown_timeout=5.0)
app.conf.update(worker_enable_remote_control=True, task_acks_late=True, worker_prefetch_multiplier=1)


@app.task
def wait():
    time.sleep(0.5)
    return app.current_worker_task.request.hostname


def all_answer():
    return len(app.control.inspect(timeout=3, limit=len(LAB["workers"])).ping() or {}) == len(LAB["workers"])


def rate(label, count=20, during=lambda: None):
    started = time.monotonic()
    results = [wait.delay() for _ in range(count)]
    during()
    hosts = [result.get(timeout=60) for result in results]
    found = count / (time.monotonic() - started)
    bar(label, round(found, 1), f"tasks a second, on {len(set(hosts))} hosts")
    return found, hosts


def client():
    check("the workers answer", wait_until(all_answer), "Do they use the same broker, and remote control?")
    first, *others = (f"celery@{host}" for host in LAB["workers"])
    app.control.cancel_consumer("tour", destination=others, reply=True, timeout=5)
    before, hosts = rate("one host")
    check("one host did all the work", set(hosts) == {first}, "Do the others still consume?")
    app.control.add_consumer("tour", destination=others, reply=True, timeout=5)
    after, hosts = rate(f"{len(LAB['workers'])} hosts", 20 * len(LAB["workers"]))
    check("all hosts worked", len(set(hosts)) == len(LAB["workers"]), "Does each one consume the queue?")
    check(
        "they were faster than one",
        after > 0.5 * len(LAB["workers"]) * before,
        "Tasks must wait, not compute.",
    )
    leave = {"destination": others[-1:], "reply": True, "timeout": 5}
    _, hosts = rate("while one leaves", 30, lambda: app.control.cancel_consumer("tour", **leave))
    check("every task ran", len(hosts) == 30, "Was a task acknowledged before it ran?")


def worker():
    work(app, f"--hostname={LAB['host']}")


play(client, worker)
