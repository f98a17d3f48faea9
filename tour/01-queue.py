"""A message and a queue

A producer sends three messages to a queue, and ends its connection.
The queue keeps the messages, although neither a producer nor a consumer is connected.
Then a consumer connects and receives them in the order in which they were sent.

Question: Who must run at the same time: the producer and the consumer, the producer and the broker, or all
three?
Answer: The producer and the broker, and later the consumer and the broker. The queue separates them in time:
this is why a web page can hand over work in a moment, and why a consumer may be restarted.
"""

from lesson import bar, check, connect, take, waiting

producer = connect()
channel = producer.channel()
channel.queue_declare("greetings", durable=True, arguments={"x-queue-type": "quorum"})
channel.confirm_delivery()  # basic_publish returns when the broker has stored the message
for text in ("one", "two", "three"):
    channel.basic_publish(exchange="", routing_key="greetings", body=text)
producer.close()

consumer = connect()
channel = consumer.channel()
before = waiting(channel, "greetings")
bar("greetings", before, "messages wait")
received = list(take(channel, "greetings"))
print("  received:", ", ".join(received))
after = waiting(channel, "greetings")

check("three messages waited in the queue", before == 3, "Did every message go to the queue `greetings`?")
check("they were received in order", received == ["one", "two", "three"], "A queue is first in, first out.")
check("the queue is empty", after == 0, "A message leaves the queue when its consumer acknowledges it.")
