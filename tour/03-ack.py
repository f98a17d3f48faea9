"""Acknowledgements

A consumer receives a message and is killed before it acknowledges the message: the broker delivers it again.
A second consumer acknowledges the message and is killed afterwards: the broker does not deliver it again.
A message therefore leaves its queue when the work is done, not when it is received.

Question: A consumer does the work, and is killed just before its acknowledgement. What happens?
Answer: The message is delivered again, so the work is done twice. RabbitMQ promises "at least once". The work
must therefore be idempotent: doing it twice has the same effect as doing it once.
"""

import os
import signal
from multiprocessing import Process

from lesson import check, connect, wait_until, waiting

channel = connect().channel()
channel.queue_declare("orders", durable=True, arguments={"x-queue-type": "quorum"})
channel.confirm_delivery()


def consumer(acknowledge):
    own = connect().channel()
    for method, _properties, body in own.consume("orders", auto_ack=False):
        print(f"  process {os.getpid()} received {body.decode()}, delivered before: {method.redelivered}")
        if acknowledge:
            own.basic_ack(method.delivery_tag)
            own.queue_declare("orders", passive=True)  # its answer arrives after the acknowledgement
        os.kill(os.getpid(), signal.SIGKILL)


def messages_after(acknowledge):
    process = Process(target=consumer, args=(acknowledge,))
    process.start()
    process.join()
    wait_until(lambda: waiting(channel, "orders"), 2)
    left = waiting(channel, "orders")
    print(f"  killed {'after' if acknowledge else 'before'} the acknowledgement: {left} in the queue")
    return left


channel.basic_publish("", "orders", "order 1")
before = messages_after(acknowledge=False)
check(
    "a message without acknowledgement is kept",
    before == 1,
    "With auto_ack=True it is lost: set it to False.",
)
after = messages_after(acknowledge=True)
check(
    "an acknowledged message is gone",
    after == 0,
    "Was the acknowledgement sent before the process was killed?",
)
