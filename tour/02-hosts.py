"""A producer and consumers on different hosts

The producer runs on a gateway and publishes 60 messages.
One consumer on every worker host receives from the same queue.
Each message goes to one consumer, and the consumers share the work.

Runs: producer on a gateway; consumer on every worker host

Question: The producer does not know how many consumers there are. Who decides which consumer gets a message?
Answer: The broker. It delivers the next message to a consumer that can take one. So a worker host is added by
starting it: no producer changes.
"""

import json
import time
from collections import Counter

from lesson import LAB, bar, check, connect, play

QUEUE = {"queue": "work", "durable": True, "arguments": {"x-queue-type": "quorum"}}


def producer():
    channel = connect().channel()
    channel.queue_declare(**QUEUE)
    channel.queue_declare(**QUEUE | {"queue": "done"})
    while channel.queue_declare(**QUEUE).method.consumer_count < len(LAB["workers"]):
        time.sleep(0.1)
    for number in range(60):
        channel.basic_publish("", "work", str(number))
    answers = []
    for _method, _properties, body in channel.consume("done", auto_ack=True):
        answers.append(json.loads(body))
        if len(answers) == 60:
            break
    for host, count in sorted(Counter(host for host, _ in answers).items()):
        bar(host, count, "messages")
    check(
        "each message was received once",
        sorted(n for _, n in answers) == list(range(60)),
        "Who acknowledged?",
    )
    check(
        "every host received some",
        {h for h, _ in answers} == set(LAB["workers"]),
        "Is there a consumer on each?",
    )


def consumer():
    channel = connect().channel()
    channel.queue_declare(**QUEUE)
    channel.basic_qos(prefetch_count=1)
    for method, _properties, body in channel.consume("work"):
        time.sleep(0.02)  # the work
        channel.basic_publish("", "done", json.dumps([LAB["host"], int(body)]))
        channel.basic_ack(method.delivery_tag)


play(producer, consumer)
