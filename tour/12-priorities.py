"""Priorities

Eight normal messages wait in a queue, and then eight of a high priority arrive.
A quorum queue has two priorities, normal (0 to 4) and high (5 and more), and serves two high messages for
each normal one.
A classic queue with `x-max-priority` serves every higher priority first.

Question: What happens to the normal messages while high ones arrive without end?
Answer: In the quorum queue they still get one delivery in three. In the classic queue they wait until no
higher message is left, perhaps for ever.
"""

from lesson import check, connect, take
from pika import BasicProperties

channel = connect().channel()
channel.confirm_delivery()


def order(queue, arguments):
    channel.queue_declare(queue, durable=True, arguments=arguments)
    for letter, priority in (("n", 1), ("H", 7)):
        for _ in range(8):
            channel.basic_publish("", queue, letter, BasicProperties(priority=priority))
    received = "".join(take(channel, queue))
    print(f"  {queue:<8} {received}")
    return received


quorum = order("quorum", {"x-queue-type": "quorum"})
classic = order("classic", {"x-queue-type": "classic", "x-max-priority": 10})

first = quorum[:9]
check(
    "the quorum queue serves two high, one normal",
    first.count("H") == 6,
    "Are the priorities 5 or more, and less?",
)
check(
    "the classic queue serves all high ones first",
    classic == "H" * 8 + "n" * 8,
    "Does it have x-max-priority?",
)
