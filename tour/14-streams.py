"""Streams

A stream is a log: consumers read it, and reading removes nothing.
Two consumers read the same 100 messages from the beginning, one after the other.
A third one starts at an offset, and gets what follows.

Question: What removes messages from a stream?
Answer: Its limits of age or size (`x-max-age`, `x-max-length-bytes`), in segments of the log. Work that one
of several consumers must do once belongs in a queue; events that many read, or read again, belong in a
stream.
"""

from lesson import bar, check, connect

channel = connect().channel()
arguments = {"x-queue-type": "stream", "x-max-age": "1h"}
channel.queue_declare("events", durable=True, arguments=arguments)
channel.confirm_delivery()
for number in range(100):
    channel.basic_publish("", "events", str(number))


def read(offset):
    own = connect().channel()
    own.basic_qos(prefetch_count=100)  # a stream needs a limit
    numbers = []
    for method, _properties, body in own.consume(
        "events", arguments={"x-stream-offset": offset}, inactivity_timeout=1
    ):
        if method is None:  # nothing for one second: the end of the stream
            break
        own.basic_ack(method.delivery_tag)  # lets the broker send more; the message stays
        numbers.append(int(body))
    bar(f"from {offset}", len(numbers), f"messages, the first is {min(numbers, default='none')}", scale=4)
    return numbers


first, again, late = read("first"), read("first"), read(90)
check("the first consumer reads all", first == list(range(100)), "Does it start at the offset `first`?")
check("the second one reads all of them again", again == first, "Reading a queue would have removed them.")
check("an offset skips what is before it", late == list(range(90, 100)), "Offsets count from 0.")
