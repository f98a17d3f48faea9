"""A Celery task: a function, and a class with state

A task is a function that a worker calls for a message: the client publishes its name and arguments, and
nothing runs there.
A task can also be a class: each pool process has one instance of it, which can keep a state such as an open
connection.
The client on the gateway calls both on the worker hosts, and you see which process did what.

Runs: client on a gateway; worker on every worker host

Question: The class counts its calls. Why is this no counter of all calls?
Answer: Each pool process has its own instance, and a new process begins at 0. Keep there what can be made
again, such as a connection or a loaded model, and keep facts in a database.
"""

import os
from collections import defaultdict

from lesson import LAB, bar, celery, check, play, work

app = celery(result_backend="rpc://")


@app.task
def add(a, b):
    return a + b


class Count(app.Task):
    name = "tour.count"
    calls = 0

    def run(self):
        self.calls += 1
        return f"{LAB['host']} process {os.getpid()}", self.calls


count = app.register_task(Count())


def client():
    total = add.delay(2, 3).get(timeout=30)
    calls = defaultdict(list)
    for result in [count.delay() for _ in range(30)]:
        process, number = result.get(timeout=30)
        calls[process].append(number)
    for process, numbers in sorted(calls.items()):
        bar(process, max(numbers), "calls of its instance")
    check("a worker added 2 and 3", total == 5, "Does the function return its result?")
    counted = all(sorted(numbers) == list(range(1, len(numbers) + 1)) for numbers in calls.values())
    check("each process counts its own calls", counted, "Is `calls` kept on `self`?")
    check("more than one process worked", len(calls) > 1, "A worker has two pool processes here.")


def worker():
    work(app)


play(client, worker)
