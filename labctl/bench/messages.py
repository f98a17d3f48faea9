"""The suite `publish`: messages with publisher confirms to a quorum queue, from a gateway."""

from collections.abc import Iterator
from contextlib import contextmanager

from labctl.bench.arms import Arm, Suite
from labctl.bench.figures import Run
from labctl.bench.programs import started
from labctl.bench.suite import Bench

ARGUMENT_BYTES = 100
WAYS = {
    "py-amqp, window of 200": "raw",
    "Celery, confirm_publish": "confirm_publish",
    "celery_durable, send_many": "send_many",
}


@contextmanager
def publish(bench: Bench) -> Iterator[Suite]:
    """Publishers, one after another."""
    substrate, seconds = bench.context.substrate, bench.size(5, 1)
    settings = {"part": "publisher", "password": bench.password}
    with started(substrate, bench.hosts["gateways"][:1], "celery_load.py", settings) as (program,):

        def arm(name: str, how: str) -> Arm:
            def run() -> Run:
                found = program.ask(publish=how, seconds=seconds, bytes=ARGUMENT_BYTES)
                return Run({"messages/s": found["count"] / found["seconds"]}, found["count"])

            return Arm(name, run)

        arms = [arm(name, how) for name, how in WAYS.items()]
        yield Suite(
            f"{seconds} s for each run, the same message of a task, one thread, confirms of a quorum queue",
            arms,
            guard=arms[-1],
        )
