"""Prefetch: unfair and fair dispatch

Two consumers share 40 messages, and one of them is ten times slower than the other.
Without a prefetch limit the broker sends each of them every second message at once, and the fast one soon has
nothing to do.
With a prefetch of 1 a consumer gets its next message after its acknowledgement, and all the work is done much
earlier.

Question: Why does not everybody use a prefetch of 1?
Answer: After each acknowledgement the consumer waits for the next message to arrive. For very short work this
costs more than the work, so a larger prefetch is faster. Celery's worker_prefetch_multiplier sets it for each
pool process.
"""

import threading
import time
from collections import Counter

from lesson import bar, check, connect, wait_until


def consumer(queue, prefetch, seconds, done, name):
    channel = connect().channel()
    channel.basic_qos(prefetch_count=prefetch)  # 0: no limit
    for method, _properties, _body in channel.consume(queue):
        time.sleep(seconds)
        channel.basic_ack(method.delivery_tag)
        done[name] += 1


def dispatch(queue, prefetch):
    channel = connect().channel()
    channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
    done = Counter()
    for name, seconds in (("slow", 0.1), ("fast", 0.01)):
        threading.Thread(target=consumer, args=(queue, prefetch, seconds, done, name), daemon=True).start()
    wait_until(lambda: channel.queue_declare(queue, passive=True).method.consumer_count == 2)
    started = time.monotonic()
    for number in range(40):
        channel.basic_publish("", queue, str(number))
    wait_until(lambda: done.total() == 40)
    seconds = round(time.monotonic() - started, 1)
    print(f"  prefetch {prefetch or 'without limit'}: {seconds} s")
    for name in ("slow", "fast"):
        bar(name, done[name], "messages")
    return done, seconds


unfair, slow_time = dispatch("unfair", prefetch=0)
fair, fast_time = dispatch("fair", prefetch=1)
check("without a limit both get the same number", abs(unfair["slow"] - 20) <= 2, "Use prefetch=0 here.")
check("with prefetch 1 the fast one gets most", fair["fast"] >= 30, "Use prefetch=1 here.")
check("and the work is done earlier", fast_time < slow_time, "The slow consumer must not hold messages.")
