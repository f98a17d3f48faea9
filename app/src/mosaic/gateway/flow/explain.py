"""What each part of the drawing is: two sentences, the lesson that shows it, and who declares it."""

from __future__ import annotations

from pydantic import BaseModel

from mosaic.gateway.lab.queues import DELAYS

TOPOLOGY = "app/src/mosaic/topology.py"


class Explanation(BaseModel):
    """A part's text, and the name of the lesson for `./lab tour`."""

    text: str
    lesson: str


EXPLANATIONS = {
    "producer": Explanation(
        text="A producer publishes messages to an exchange, never to a queue directly. With publisher "
        "confirms the broker answers each message when it is stored.",
        lesson="confirms",
    ),
    "topic": Explanation(
        text="A topic exchange compares the routing key of a message with the pattern of each binding. "
        "In a pattern, * stands for one word and # for any number of words.",
        lesson="exchanges",
    ),
    "direct": Explanation(
        text="A direct exchange sends a message to the queues whose binding has exactly its routing key. "
        "A message that fits no binding is dropped, unless the producer asks to get it back.",
        lesson="exchanges",
    ),
    "default": Explanation(
        text="The default exchange sends a message to the queue whose name is the routing key. "
        "Every queue is bound to it, and nobody can change that.",
        lesson="exchanges",
    ),
    "fanout": Explanation(
        text="A fanout exchange sends a copy of each message to every queue that is bound to it. "
        "It does not look at the routing key.",
        lesson="exchanges",
    ),
    "headers": Explanation(
        text="A headers exchange compares the headers of a message with the arguments of each binding. "
        "It does not look at the routing key.",
        lesson="exchanges",
    ),
    "exchange": Explanation(
        text="An exchange receives messages from producers and sends each one to queues. "
        "Its type decides how.",
        lesson="exchanges",
    ),
    "binding": Explanation(
        text="A binding is a rule of an exchange: it says which messages a queue gets. "
        "It acts on messages that are published while it exists, and not on older ones.",
        lesson="bindings",
    ),
    "quorum": Explanation(
        text="A quorum queue keeps its messages on several brokers: a leader and its followers. "
        "It loses no confirmed message while a majority of them works.",
        lesson="quorum",
    ),
    "classic": Explanation(
        text="A classic queue keeps its messages on one broker. "
        "While this broker is down, nobody can use the queue.",
        lesson="quorum",
    ),
    "stream": Explanation(
        text="A stream keeps its messages after they were delivered. Each consumer reads from the place that "
        "it chooses, so old messages can be read again.",
        lesson="streams",
    ),
    "dead": Explanation(
        text="This queue gets dead letters: messages that no consumer could finish. An operator sends them "
        "back or drops them on the page Queues.",
        lesson="dead-letters",
    ),
    "delays": Explanation(
        text="Celery delays a task with one queue and one exchange for each power of two of seconds. "
        "A delayed message waits in some of them, and then goes to the exchange of its task.",
        lesson="retry",
    ),
    "control": Explanation(
        text="Workers send Celery's events to these queues, for Flower and for the console. "
        "Remote control of workers uses such queues too.",
        lesson="monitoring",
    ),
    "tails": Explanation(
        text="Each open page Logs has one queue here, with the binding pattern of its form. "
        "The broker deletes the queue when the page is closed.",
        lesson="bindings",
    ),
    "consumer": Explanation(
        text="A consumer receives messages of a queue and acknowledges each one when its work is done. "
        "The broker sends it no more than its prefetch before an acknowledgement.",
        lesson="ack",
    ),
    "broker": Explanation(
        text="A broker stores messages and passes them on; together the brokers are a cluster. When a broker "
        "fails, the others choose new leaders for its quorum queues.",
        lesson="quorum",
    ),
}

FOLDS = {
    "delays": ("Delayed delivery", "Celery, for tasks with a countdown (kombu, native delayed delivery)"),
    "control": ("Celery's events and remote control", "Celery, in each worker"),
    "tails": ("Log tails of open pages", "app/src/mosaic/logs/tail.py"),
}


def declared_by(vhost: str, own_vhost: str, name: str) -> str:
    """Return the file or the program that declares a queue or an exchange and its bindings."""
    if name == "" or name.startswith("amq."):
        return "RabbitMQ, in every vhost"
    if vhost == own_vhost:
        return TOPOLOGY if name.startswith("mosaic.") else "a program that uses this vhost"
    if vhost == "tour":
        return "the lesson that runs now: tour/"
    if name.startswith(DELAYS):
        return FOLDS["delays"][1]
    return f"the application {vhost}"
