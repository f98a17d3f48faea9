"""A quorum queue and a classic queue without their leader

Two queues have their leader on the same broker, and this broker is killed.
The followers of the quorum queue elect a new leader, and the queue continues with all its messages.
The classic queue has no other copy: nobody can use it until its broker is back.

Needs: 3 brokers

Question: What happens when two of three brokers are down?
Answer: The quorum queue stops too, because one broker is no majority. It refuses work rather than lose it,
and continues when a second broker is back. The drills `./lab drill --list` do this under load.
"""

import time

from lesson import bar, check, connect, kill_broker, leader, waiting
from pika.exceptions import AMQPError

channel = connect().channel()
channel.confirm_delivery()
for kind in ("quorum", "classic"):
    arguments = {"x-queue-type": kind, "x-queue-leader-locator": "client-local"}
    channel.queue_declare(kind, durable=True, arguments=arguments)
    for number in range(10):
        channel.basic_publish("", kind, str(number))
before = leader("quorum")
print(f"  leaders: quorum {before}, classic {leader('classic')}")


def works(kind):
    """The number of messages, after one more was published and taken."""
    try:
        channel = connect().channel()
        channel.confirm_delivery()
        channel.basic_publish("", kind, "one more", mandatory=True)
        return waiting(channel, kind)
    except AMQPError:
        return 0


kill_broker(leader("classic"))
killed, down = time.monotonic(), {}
while len(down) < 2 and time.monotonic() - killed < 60:
    for kind in ("quorum", "classic"):
        if kind not in down and works(kind) > 10:
            down[kind] = round(time.monotonic() - killed, 1)
    time.sleep(0.1)
for kind, seconds in down.items():
    bar(kind, seconds, "s until it can be used", scale=0.25)
check(
    "the quorum queue works first", down["quorum"] < down["classic"], "Are both leaders on the killed broker?"
)
check("it has a new leader", leader("quorum") != before, "Was its leader killed?")
