"""The suite `publish`: messages with publisher confirms to a quorum queue, from a gateway."""

from collections.abc import Iterator
from contextlib import contextmanager

from labctl.bench.arms import Arm, Suite
from labctl.bench.figures import Run
from labctl.bench.programs import READY_S, started
from labctl.bench.suite import Bench

# How, and the bytes of the task's argument.
WAYS = {
    "py-amqp, window of 200": ("raw", 100),
    "Celery, confirm_publish": ("confirm_publish", 100),
    "celery_durable, send_many": ("send_many", 100),
    "celery_durable, send_many, 10 kB": ("send_many", 10_000),
}


@contextmanager
def publish(bench: Bench) -> Iterator[Suite]:
    """Publishers, one after another."""
    substrate, seconds = bench.context.substrate, bench.size(5, 1)
    settings = {"part": "publisher", "password": bench.password}
    with started(substrate, bench.hosts["gateways"][:1], "celery_load.py", settings) as (program,):
        program.read(READY_S)

        def arm(name: str, how: str, size: int) -> Arm:
            def run() -> Run:
                found = program.ask(publish=how, seconds=seconds, bytes=size)
                return Run({"messages/s": found["count"] / found["seconds"]}, found["count"])

            return Arm(name, run, base="" if how == "raw" else next(iter(WAYS)))

        arms = [arm(name, *way) for name, way in WAYS.items()]
        yield Suite(
            f"{seconds} s for each run, the same message of a task, one thread, confirms of a quorum queue",
            arms,
            guard=arms[2],
        )
