"""Bindings change while messages flow

A producer publishes 50 messages a second to a topic exchange, and does not stop.
The queue `always` is bound the whole time; the queue `second` is bound after one second, and unbound after
another one.
A queue gets the messages that are published while it is bound, and the producer notices nothing.

Question: A new consumer wants the messages of yesterday. Does a binding help?
Answer: No. A message is routed once, when it is published. To read old messages again you need a stream: see
the lesson `streams`.
"""

import threading
import time

from lesson import bar, check, connect, take

channel = connect().channel()
channel.exchange_declare("ticks", exchange_type="topic")
for queue in ("always", "second"):
    channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
channel.queue_bind("always", "ticks", "tick.#")


def producer():
    own = connect().channel()
    while True:
        own.basic_publish("ticks", "tick.number", "tick")
        time.sleep(0.02)


def received(phase):
    time.sleep(1)
    counts = {queue: len(list(take(channel, queue))) for queue in ("always", "second")}
    print(f"  {phase}")
    for queue, count in counts.items():
        bar(queue, count, "messages in this second", scale=2)
    return counts


threading.Thread(target=producer, daemon=True).start()
before = received("`second` is not bound")
channel.queue_bind("second", "ticks", "tick.*")
during = received("`second` is bound")
channel.queue_unbind("second", "ticks", "tick.*")
list(take(channel, "second"))
after = received("`second` is not bound any more")

check(
    "`always` gets messages in each second", all(c["always"] for c in (before, during, after)), "Is it bound?"
)
check(
    "`second` gets messages while it is bound", during["second"] > 0, "Does its binding match `tick.number`?"
)
check("`second` gets no others", before["second"] == after["second"] == 0, "Is it unbound with the same key?")
