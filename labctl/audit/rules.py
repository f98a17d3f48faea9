"""Rules for settings that lose or stall tasks: the table of celery_durable, and a few more.

The table has the texts, figures and drills of its rules. No drill shows the failure of a rule without
`drills`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from labctl.audit.application import TABLE

CONSUMER_TIMEOUT_S = 1800  # RabbitMQ's default, and the lab's
OLDEST = "5.6.3"  # the oldest Celery that has every setting of the table
Application = dict[str, Any]  # of labctl.audit.application


@dataclass(frozen=True)
class Finding:
    """A setting, its value, and what happens with this value.

    `risk`: "lost" or "stalls". `what`: the failure. `add`: the line that prevents it. `drills`: the drills
    that show the failure, with the figures in `what`. `where`: the tasks or queues concerned; empty for all.
    """

    setting: str
    value: str
    risk: str
    what: str
    add: str
    drills: Sequence[str] = ()
    where: Sequence[str] = ()


@dataclass(frozen=True)
class _Part:
    """A setting that a task or queue can override with `key`. `add`: the line for one that `lacks` it."""

    of: str
    key: str
    lacks: Callable[[Any], bool]
    add: str


_PARTS = {
    "task_acks_late": _Part("tasks", "acks_late", lambda value: not value, "@app.task(acks_late=True)"),
    "task_reject_on_worker_lost": _Part(
        "tasks", "reject_on_worker_lost", lambda value: not value, "@app.task(reject_on_worker_lost=True)"
    ),
    "task_default_queue_type": _Part(
        "queues", "type", "classic".__eq__, 'Queue(..., queue_arguments={"x-queue-type": "quorum"})'
    ),
    "task_default_exchange_type": _Part(
        "queues", "exchange_type", "direct".__eq__, 'Queue(..., exchange=Exchange(..., type="topic"))'
    ),
}


@cache
def _drills_of() -> dict[str, tuple[str, ...]]:
    """Each setting of celery_durable's table with its drills. Reads the table without Celery."""
    found: dict[str, tuple[str, ...]] = {}
    for node in ast.walk(ast.parse(TABLE.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Setting":
            drills = next((word.value for word in node.keywords if word.arg == "drills"), None)
            found[ast.literal_eval(node.args[0])] = ast.literal_eval(drills) if drills else ()
    return found


def names_of_settings() -> list[str]:
    """Return the names of all settings of the table."""
    return list(_drills_of())


def guards() -> dict[str, list[str]]:
    """Return by drill the settings that guard against it."""
    found: dict[str, list[str]] = {}
    for setting, drills in _drills_of().items():
        for drill in drills:
            found.setdefault(drill, []).append(setting)
    return found


def findings(application: Application) -> list[Finding]:
    """Return all findings: lost tasks first, and within each risk first those that a drill shows."""
    found = [*_of_the_table(application), *_others(application), *_long_tasks(application)]
    return sorted(found, key=lambda finding: (finding.risk != "lost", not finding.drills))


def _of_the_table(application: Application) -> Iterator[Finding]:
    configuration = application["configuration"]
    for setting in application["settings"]:
        name, suffices, where = setting["name"], setting["suffices"], []
        missing = name.startswith("task_create_missing_") and not configuration["task_create_missing_queues"]
        part = _PARTS.get(name)
        if missing or not (setting["known"] or part):
            continue
        value, add = repr(configuration.get(name)), _line(application, name, setting["wanted"])
        loses = setting["loses"]
        ones = [one for one in application[part.of] if not one.get("temporary")] if part else []
        if part and ones:
            lacking = [one for one in ones if part.lacks(one[part.key])]
            where = [one["name"] for one in lacking]
            own = part.of == "queues" and configuration["task_queues"]  # the setting does not change them
            if lacking and (suffices or own or not setting["known"]):
                value, add = repr(lacking[0][part.key]), part.add
                loses = name != "task_default_exchange_type"
            suffices = not lacking
        if not suffices:
            risk = "lost" if loses else "stalls"
            yield Finding(name, value, risk, setting["without"], add, setting["drills"], where)


def _line(application: Application, name: str, value: str) -> str:
    if "celery_durable" in value:
        return "app = make_durable(app)"
    prefix = application["prefix"]
    return f"{prefix}{name.upper()} = {value}" if prefix else f"app.conf.{name} = {value}"


def _others(application: Application) -> Iterator[Finding]:
    """Rules without a drill."""
    unknown = [setting["name"] for setting in application["settings"] if not setting["known"]]
    if unknown:
        what = f"This version of Celery has no {', '.join(unknown)}."
        yield Finding(
            "celery", application["celery"], "lost", what, f"celery>={OLDEST}  # in the requirements"
        )
    if application["configuration"]["task_always_eager"]:
        what = (
            "A task runs in the process that calls it, without a queue, and is lost when that process ends."
        )
        add = _line(application, "task_always_eager", "False")
        yield Finding("task_always_eager", "True", "lost", what, add)
    brokers = application["configuration"]["broker_url"]
    if len(brokers) > 1:
        what = "A worker declares the queues of delayed delivery on each broker, and waits if one is down."
        add = _line(application, "broker_url", "'...'") + "  # one address, of a proxy"
        yield Finding("broker_url", f"{len(brokers)} brokers", "stalls", what, add)
    tasks = {task["name"] for task in application["tasks"]}
    for entry in application["beat"]:
        name = str(entry["task"])
        if name not in tasks and not name.startswith("celery."):
            what = "The application has no task of this name: a worker rejects it, and RabbitMQ deletes it."
            yield Finding(
                f"beat_schedule[{entry['name']!r}]", name, "lost", what, f"@app.task(name={name!r})"
            )


def _long_tasks(application: Application) -> Iterator[Finding]:
    late = [task for task in application["tasks"] if task["acks_late"]]
    long = {
        task["name"]: task["time_limit"] for task in late if (task["time_limit"] or 0) > CONSUMER_TIMEOUT_S
    }
    if long:
        most = max(long.values())
        what = (
            "RabbitMQ delivers a task again after 30 minutes without an acknowledgement, even if the task"
            " still runs. In the drill, which sets 5 s instead of 30 minutes, it started again after 49.5 s."
        )
        add = f"consumer_timeout = {int(most + 60) * 1000}  # milliseconds, in rabbitmq.conf"
        yield Finding("task_time_limit", f"{most:g} s", "stalls", what, add, ("long-task",), list(long))
