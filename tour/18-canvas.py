"""Groups, chords and chains

Tasks can be combined: a group runs tasks side by side, a chain passes the result of each task to the next
one.
A chord runs a group, and then one more task with all results.
You see each of them, and that the group takes less time than its tasks one after another.

Question: Who starts the last task of a chord?
Answer: With Redis as result backend the worker that ends the last task of the group; with others a task
`chord_unlock` that looks again each second. If one task of the group never ends, the chord never ends: give
tasks a time limit.
"""

import time
from multiprocessing import Process

from celery import chain, chord, group
from lesson import bar, celery, check, work

app = celery(result_backend="file:///tmp")  # client and worker share a folder here


@app.task
def square(number):
    time.sleep(0.3)
    return number * number


@app.task
def total(numbers):
    return sum(numbers)


def timed(label, signature):
    started = time.monotonic()
    value = signature.apply_async().get(timeout=30, interval=0.05)
    seconds = round(time.monotonic() - started, 1)
    bar(label, seconds, f"s: {value}", scale=0.1)
    return value, seconds


worker = Process(target=work, args=(app, "--pool=threads"), daemon=True)
worker.start()
square.delay(0).get(timeout=30)  # the worker has started
together = timed("group", group(square.s(number) for number in (1, 2, 3, 4)))
in_turn = timed("chain", chain(square.s(2), square.s(), square.s(), square.s()))
summed = timed("chord", chord((square.s(number) for number in (1, 2, 3, 4)), total.s()))
worker.kill()

check("the group has all results", together[0] == [1, 4, 9, 16], "Results come in the order of the group.")
check("the chain passed each result on", in_turn[0] == 65536, "Each task gets the result of the one before.")
check(
    "the group was faster than the chain",
    together[1] < in_turn[1],
    "Four tasks in each; two run side by side.",
)
check("the chord added the results", summed[0] == 30, "Its last task gets the list of results.")
