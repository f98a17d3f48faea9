"""Beat

Beat is a clock: it publishes tasks at fixed times, and does no work itself.
Here it publishes one task each second, and another one every two seconds, for four seconds.
No worker runs, so you see the messages themselves, as a worker would receive them.

Runs: client on a gateway; beat on a gateway

Question: Beat runs on two hosts. What happens?
Answer: Every task is published twice, because the two do not know each other. Run one beat, let systemd
restart it, and let each task be harmless when it runs late or twice.
"""

import json
import time
from collections import Counter

from lesson import bar, celery, check, connect, play

app = celery(
    beat_max_loop_interval=0.5,
    beat_schedule={
        "often": {"task": "tour.clean", "schedule": 1.0},
        "seldom": {"task": "tour.report", "schedule": 2.0},
    },
)


def client():
    channel = connect().channel()
    channel.exchange_declare("tour", exchange_type="topic", durable=True)
    channel.queue_declare("tour", durable=True, arguments={"x-queue-type": "quorum"})
    channel.queue_bind("tour", "tour", "tour")
    counts, started = Counter(), None
    for method, properties, body in channel.consume("tour", auto_ack=True, inactivity_timeout=10):
        if method is None:
            break  # nothing for ten seconds
        started = started or time.monotonic()
        if time.monotonic() - started > 4.5:
            break
        name = properties.headers["task"]
        counts[name] += 1
        print(f"  {time.monotonic() - started:3.1f} s  {name:<12} arguments {json.loads(body)[0]}")
    for name, count in counts.items():
        bar(name, count, "messages")
    check("one task was published each second", 4 <= counts["tour.clean"] <= 6, "Its schedule should be 1.0.")
    check("the other one half as often", 2 <= counts["tour.report"] <= 4, "Its schedule should be 2.0.")


def beat():
    app.Beat(schedule="/tmp/beat", loglevel="CRITICAL", quiet=True).run()


play(client, beat)
