"""Exchanges: direct, fanout, topic, headers and default

A producer publishes to an exchange, and the exchange copies the message to the queues whose binding matches.
You see the five kinds: equal routing keys, all queues, patterns, headers, and the name of the queue.
For each message, the table shows which of the queues `mail`, `sms` and `log` got it.

Question: Which kind does the lab's sample application use, and what does it gain?
Answer: Topic, with bindings without a wildcard. They match like those of a direct exchange, and Celery's
delayed delivery with quorum queues needs a topic exchange.
"""

from lesson import check, connect, take
from pika import BasicProperties

BINDINGS = {
    "direct": {"mail": "order", "sms": "alarm", "log": "order"},
    "fanout": {"mail": "", "sms": "", "log": ""},
    "topic": {"mail": "*.order.*", "sms": "#.alarm", "log": "#"},
    "headers": {"mail": {"kind": "order", "paid": True}, "sms": {"kind": "alarm"}, "log": {"kind": "order"}},
}
channel = connect().channel()
channel.confirm_delivery()
for queue in ("mail", "sms", "log"):
    channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
for kind, bindings in BINDINGS.items():
    channel.exchange_declare(kind, exchange_type=kind)
    for queue, rule in bindings.items():
        key, arguments = ("", rule | {"x-match": "all"}) if kind == "headers" else (rule, None)
        channel.queue_bind(queue, kind, key, arguments)


def route(exchange, key, expected, **headers):
    channel.basic_publish(exchange, key, "hello", BasicProperties(headers=headers))
    got = [queue for queue in ("mail", "sms", "log") if list(take(channel, queue))]
    claim = f"{exchange or 'default':<8} {key or headers or 'no key'!s:<34} -> {expected}"
    check(claim, got == expected.split(), f"It went to: {' '.join(got) or 'no queue'}. Compare the bindings.")


route("direct", "order", "mail log")
route("direct", "alarm", "sms")
route("fanout", "", "mail sms log")
route("topic", "eu.order.new", "mail log")
route("topic", "eu.alarm", "sms log")
route("headers", "", "log", kind="order", paid=False)
route("headers", "", "mail log", kind="order", paid=True)
route("", "sms", "sms")
