"""Publisher confirms

Two producers publish to a quorum queue each, and the broker of the second one's connection is killed.
The first one waits for the publisher confirm of every message, and no message that was confirmed is lost.
The second one does not wait: the messages that were on their way are lost, and it cannot know which.

Question: Can the producer with confirms cause duplicates?
Answer: Yes, when the broker stored the message and died before its confirm arrived. At least once means:
never lost, perhaps twice. Waiting for each single confirm is slow; the library celery_durable waits for many
at a time.
"""

import threading
import time

from lesson import check, connect, kill_broker, leader, waiting
from pika.exceptions import AMQPError

published, lost = {"confirmed": 0, "unconfirmed": 0}, {}
stop = threading.Event()


def producer(queue):
    own = connect().channel()
    own.queue_declare(f"near-{queue}", exclusive=True)  # is on the broker that this producer is connected to
    while not stop.is_set():
        try:
            if queue == "confirmed":
                own.confirm_delivery()  # from now on basic_publish waits for the confirm
            while not stop.is_set():
                own.basic_publish("", queue, "x" * 100)
                published[queue] += 1
        except AMQPError:  # the failed message is not counted; the next one takes its place
            own = connect().channel()


channel = connect().channel()
for queue in published:
    channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
threads = [threading.Thread(target=producer, args=(queue,)) for queue in published]
for thread in threads:
    thread.start()
time.sleep(0.5)
kill_broker(leader("near-unconfirmed"))
time.sleep(1)
stop.set()
for thread in threads:
    thread.join()
channel = connect().channel()
channel.confirm_delivery()
for queue, count in published.items():
    channel.basic_publish(
        "", queue, "the last one"
    )  # when it is confirmed, the new leader counts all messages
    lost[queue] = max(0, count - (waiting(channel, queue) - 1))
    print(f"  {queue:<12} {count} messages published, {lost[queue]} of them lost")
check("no confirmed message is lost", not lost["confirmed"], "Does it wait for the confirms?")
check("unconfirmed messages are lost", lost["unconfirmed"], "Kill the broker of its connection.")
