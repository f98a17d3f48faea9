"""Monitoring: find a backlog

A queue gets 300 messages and has no consumer: a backlog.
You read it from four places: a passive declare, RabbitMQ's management API, Prometheus, and what Flower shows
of the workers.
The first one is exact at once; the others are some seconds old, because they collect their figures at
intervals.

Needs: 1 monitors

Question: A queue has a backlog of 300. Is this a problem?
Answer: The number alone does not show it. Compare the rate of publishing with the rate of acknowledging, and
the age of the oldest message. A backlog that grows, or that has no consumer, is a problem.
"""

import json
import re
import ssl
import time
import urllib.parse
import urllib.request

from lesson import LAB, bar, check, connect, get, wait_until, waiting

TRUST = ssl.create_default_context(cafile="/etc/warren/pki/ca.pem")
MONITOR = LAB["monitors"][0]


def read(port, path):
    with urllib.request.urlopen(f"https://{MONITOR}:{port}{path}", context=TRUST, timeout=10) as response:
        return response.read().decode()


def prometheus():
    query = urllib.parse.quote("sum(rabbitmq_queue_messages_ready)")
    found = json.loads(read(9090, f"/prometheus/api/v1/query?query={query}"))["data"]["result"]
    return int(found[0]["value"][1])


def place(name, figure, enough):
    found = wait_until(lambda: figure() >= enough, 40)
    bar(name, figure(), f"messages, shown within {time.monotonic() - published:.1f} s", scale=10)
    return found


channel = connect().channel()
before = prometheus()
channel.queue_declare("backlog", durable=True, arguments={"x-queue-type": "quorum"})
for number in range(300):
    channel.basic_publish("", "backlog", str(number))
published = time.monotonic()
exact = place("passive declare", lambda: waiting(channel, "backlog"), 300)
api = place("management API", lambda: get("/queues/tour/backlog").get("messages", 0), 300)
metric = place("Prometheus", lambda: prometheus() - before, 250)
online = re.findall(r'flower_worker_online\{worker="([^"]+)"\} 1', read(5555, "/flower/metrics"))
print(f"  Flower: {len(online)} workers of the lab are online, and all of them consume other queues")
check("all three show the backlog", exact and api and metric, "Did 300 messages go to `backlog`?")
consumers = channel.queue_declare("backlog", passive=True).method.consumer_count
check("nobody consumes the queue", consumers == 0, "A consumer would take the backlog away.")
