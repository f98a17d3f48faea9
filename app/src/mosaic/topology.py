"""The names of all exchanges, queues and bindings.

    mosaic.tasks (topic)  --render-->  mosaic.render         and likewise for other kinds of short parts
                          --long-->    mosaic.long           parts of several minutes, of any kind
                          --upkeep-->  mosaic.upkeep         --drill-->   mosaic.drill
                          --host.<hostname>-->  mosaic.host.<hostname>
    mosaic.logs  (topic)  --#-->  mosaic.logs        routing key <host>.<severity>
    mosaic.dead  (topic)  --#-->  mosaic.dead        messages that no consumer could finish

Every queue is a quorum queue. Every exchange is a topic exchange, because native delayed delivery (retries
with a countdown, chords) does not support direct exchanges. Dead-lettering, delivery limit and overflow are
set by a policy of the brokers, so an operator can change them without declaring the queues again.
"""

from __future__ import annotations

from kombu import Exchange, Queue

from celery_durable import quorum_queue
from mosaic.kinds import KINDS

TASKS = "mosaic.tasks"
LOGS = "mosaic.logs"
DEAD = "mosaic.dead"

UPKEEP_QUEUE = "mosaic.upkeep"
DRILL_QUEUE = "mosaic.drill"

HOST_QUEUE_EXPIRES_SECONDS = 3600

tasks_exchange = Exchange(TASKS, type="topic", durable=True)
logs_exchange = Exchange(LOGS, type="topic", durable=True)
dead_exchange = Exchange(DEAD, type="topic", durable=True)


def host_routing_key(host: str) -> str:
    """Return the routing key that reaches only the workers of `host`."""
    return f"host.{host}"


def host_queue(host: str) -> Queue:
    """Return the queue of one host. The broker deletes it an hour after its last consumer has left."""
    return quorum_queue(
        f"mosaic.host.{host}", tasks_exchange, host_routing_key(host), HOST_QUEUE_EXPIRES_SECONDS
    )


def shared_task_queues() -> tuple[Queue, ...]:
    """Return the queues of Celery tasks that any worker may consume."""
    of_kinds = {kind.queue: kind.routing_key for kind in KINDS.values()}
    return (
        *(quorum_queue(queue, tasks_exchange, key) for queue, key in of_kinds.items()),
        quorum_queue(UPKEEP_QUEUE, tasks_exchange, "upkeep"),
        quorum_queue(DRILL_QUEUE, tasks_exchange, "drill"),
    )


def task_queues(host: str) -> tuple[Queue, ...]:
    """Return the queues of Celery on `host`: the shared queues and its own queue."""
    return (*shared_task_queues(), host_queue(host))


def plain_queues() -> tuple[Queue, ...]:
    """Return the queues that Celery does not use: log records and dead letters."""
    return (quorum_queue(LOGS, logs_exchange, "#"), quorum_queue(DEAD, dead_exchange, "#"))


def task_routes() -> dict[str, dict[str, str]]:
    """Return Celery's routes: queues by pattern of the task's name."""
    return {
        **{f"mosaic.{kind.name}.*": {"queue": kind.queue} for kind in KINDS.values()},
        "mosaic.upkeep.*": {"queue": UPKEEP_QUEUE},
        "mosaic.drill.*": {"queue": DRILL_QUEUE},
    }
