"""Unroutable messages

A producer publishes with a routing key that no binding matches.
By default the broker confirms the message and drops it, and nobody notices.
With `mandatory` the broker returns it to the producer, and with an alternate exchange it goes to another
queue.

Question: The producer got a publisher confirm. Is the message in a queue?
Answer: Not always. The confirm means that the broker has done what the routing asked for, which may be
nothing. Use `mandatory` or an alternate exchange wherever a missing binding would lose work.
"""

from lesson import check, connect, take
from pika.exceptions import UnroutableError

channel = connect().channel()
channel.confirm_delivery()
channel.exchange_declare("plain", exchange_type="direct")
channel.exchange_declare("unrouted", exchange_type="fanout")
channel.exchange_declare("careful", exchange_type="direct", arguments={"alternate-exchange": "unrouted"})
channel.queue_declare("found", durable=True, arguments={"x-queue-type": "quorum"})
channel.queue_bind("found", "unrouted")


def publish(exchange, *, mandatory=False):
    try:
        channel.basic_publish(exchange, "no-such-key", "hello", mandatory=mandatory)
        outcome = "confirmed"
    except UnroutableError:
        outcome = "returned"
    stored = list(take(channel, "found"))
    print(f"  exchange {exchange:<8} mandatory {mandatory!s:<5} -> {outcome}, {len(stored)} in queue `found`")
    return outcome, len(stored)


silent = publish("plain")
returned = publish("plain", mandatory=True)
kept = publish("careful")

check("by default it is confirmed and dropped", silent == ("confirmed", 0), "Publish it without mandatory.")
check("with mandatory it is returned", returned == ("returned", 0), "Publish it with mandatory=True.")
check(
    "the alternate exchange keeps it", kept == ("confirmed", 1), "Does `careful` name its alternate exchange?"
)
