"""Dead letters and a poison message

One of five messages is poison: each consumer that receives it fails before its acknowledgement.
The broker delivers it again and again, and the consumers waste their time.
With a delivery limit and a dead-letter exchange it leaves the queue after some attempts, and is kept in
another queue.

Question: What happens to a poison message of a quorum queue without a dead-letter exchange?
Answer: RabbitMQ 4.0 has a default limit of 20 deliveries. Then the message is deleted, and only a log line of
the broker reports it. So give every queue of work a dead-letter exchange.
"""

from lesson import check, connect, wait_until, waiting

channel = connect().channel()
channel.exchange_declare("dead", exchange_type="fanout")
channel.queue_declare("dead-letters", durable=True, arguments={"x-queue-type": "quorum"})
channel.queue_bind("dead-letters", "dead")
limits = {"x-delivery-limit": 3, "x-dead-letter-exchange": "dead"}
channel.queue_declare("orders", durable=True, arguments={"x-queue-type": "quorum"} | limits)
channel.confirm_delivery()
for body in ("order 1", "poison", "order 2", "order 3", "order 4"):
    channel.basic_publish("", "orders", body)

done, failed = [], 0
while failed < 10:
    connection = connect()
    own = connection.channel()
    for method, _properties, body in own.consume("orders", inactivity_timeout=1):
        if method is None or body == b"poison":
            break  # the end of the queue; or the consumer fails, and has acknowledged nothing
        done.append(body.decode())
        own.basic_ack(method.delivery_tag)
    connection.close()
    if method is None:
        break
    failed += 1
    print(f"  consumer {failed} receives the poison message and fails")

wait_until(lambda: waiting(channel, "dead-letters"), 5)
_method, properties, body = channel.basic_get("dead-letters", auto_ack=True)
reason = properties.headers["x-death"][0]["reason"] if properties else "none"
print(f"  done: {', '.join(done)}; dead letter: {body}, reason: {reason}")
check(
    "the other orders are done", sorted(set(done)) == [f"order {n}" for n in range(1, 5)], "Acknowledge them."
)
check("poison was delivered 1 + 3 times", failed == 4, "The limit counts the deliveries after the first one.")
check(
    "it is a dead letter", body == b"poison", "The queue needs x-delivery-limit and x-dead-letter-exchange."
)
