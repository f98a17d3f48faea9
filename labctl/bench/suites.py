"""The suites by name."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from labctl.bench import jobs, messages, tasks
from labctl.bench.arms import Suite
from labctl.bench.suite import Bench
from labctl.errors import UsageError


@dataclass(frozen=True)
class Entry:
    """A suite: how it is opened, the groups that must have a host, and whether it needs the brokers' user."""

    open: Callable[[Bench], AbstractContextManager[Suite]]
    needs: tuple[str, ...] = ("gateways", "workers")
    vhost: bool = False


SUITES = {
    "publish": Entry(messages.publish, ("gateways",), vhost=True),
    "drain": Entry(tasks.drain, vhost=True),
    "parts": Entry(jobs.parts),
    "latency": Entry(jobs.latency),
    "scale": Entry(tasks.scale, vhost=True),
}


def chosen(names: tuple[str, ...]) -> list[str]:
    """The suites of these names, all of them without one. Raises UsageError."""
    unknown = [name for name in names if name not in SUITES]
    if unknown:
        raise UsageError(f"There is no suite {unknown[0]!r}; there are {', '.join(SUITES)}.")
    return list(dict.fromkeys(names)) or list(SUITES)
