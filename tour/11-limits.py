"""TTL and length limits

A message may become old in a queue, and a queue may become long while no consumer runs.
A TTL (time to live) removes messages that are older; a length limit removes the oldest ones, or refuses new
ones.
You see a queue with each of these limits, and what is left in it.

Question: Which limit is right for work that must not get lost?
Answer: `reject-publish`: the broker refuses the message with a negative confirm, and the producer can wait.
Drop-head and a TTL without a dead-letter exchange delete messages silently.
"""

import time

from lesson import bar, check, connect, take
from pika.exceptions import NackError

channel = connect().channel()
channel.confirm_delivery()


def declare(queue, **limits):
    arguments = {"x-queue-type": "classic"} | {
        f"x-{key.replace('_', '-')}": value for key, value in limits.items()
    }
    channel.queue_declare(queue, durable=True, arguments=arguments)


def publish(queue, count):
    refused = 0
    for number in range(count):
        try:
            channel.basic_publish("", queue, str(number))
        except NackError:
            refused += 1
    return refused


declare("news", message_ttl=500)
declare("latest", max_length=5, overflow="drop-head")
declare("bounded", max_length=5, overflow="reject-publish")
refused = {queue: publish(queue, 8) for queue in ("news", "latest", "bounded")}
time.sleep(1)  # longer than the TTL
left = {queue: list(take(channel, queue)) for queue in refused}
for queue, kept in left.items():
    bar(queue, len(kept), f"left: {' '.join(kept)}; {refused[queue]} refused")

check("the TTL removed all", not left["news"] and not refused["news"], "Make the TTL shorter than the pause.")
check("drop-head kept the newest five", left["latest"] == list("34567"), "Compare its limit and overflow.")
check(
    "reject-publish kept the oldest five", left["bounded"] == list("01234"), "Compare its limit and overflow."
)
check("and refused three", refused["bounded"] == 3, "Only with publisher confirms a producer sees this.")
