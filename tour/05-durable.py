"""Durable queues and persistent messages

Three queues are on one broker, each with one message, and this broker is killed and starts again.
A durable queue is still there afterwards, and so is a persistent message in it; other messages and other
queues are gone.
Both settings are needed: one belongs to the queue, the other one to each message.

Question: These are classic queues, which are on one broker. What about quorum queues?
Answer: They are always durable, and store every message on a majority of brokers, whatever its delivery mode.
The lab uses them for all work. A quorum queue also remains usable while the broker is down: see the lesson
`quorum`.
"""

from lesson import check, connect, kill_broker, leader, wait_until, waiting
from pika import BasicProperties
from pika.exceptions import AMQPError

TRANSIENT, PERSISTENT = 1, 2
CASES = {  # queue: is it durable, delivery mode of its message
    "durable-persistent": (True, PERSISTENT),
    "durable-transient": (True, TRANSIENT),
    "not-durable": (False, PERSISTENT),
}


def messages(name):
    try:
        return waiting(connect().channel(), name)
    except AMQPError:
        return None  # there is no such queue, or its broker is down


channel = connect().channel()
channel.confirm_delivery()
for name, (durable, mode) in CASES.items():
    channel.queue_declare(name, durable=durable, arguments={"x-queue-type": "classic"})
    channel.basic_publish("", name, "a message", BasicProperties(delivery_mode=mode))
kill_broker(leader("durable-persistent"))
wait_until(lambda: messages("durable-persistent") is not None, 60)
left = {name: messages(name) for name in CASES}
for name, count in left.items():
    print(f"  {name:<20} {'no queue' if count is None else f'{count} messages'}")

check("the persistent message is there", left["durable-persistent"] == 1, "Use delivery mode 2 there.")
check("the transient message is gone", left["durable-transient"] == 0, "Use delivery mode 1 there.")
check("the other queue is gone", left["not-durable"] is None, "Declare it with durable=False.")
