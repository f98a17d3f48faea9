"""status: the state of the lab, from what each node reports."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from labctl.context import Context
from labctl.errors import UsageError
from labctl.lab import state
from labctl.status import nodes
from labctl.substrates.base import distinct
from labctl.topology import declaration

# Queues of Celery itself; the vhost comes first when several vhosts have a queue of this name.
_INTERNAL = re.compile(r"([^/]+/)?(celery_delayed|celeryev\.|(.+\.)?celery\.pidbox$)")
NARROWEST = 72  # columns; below, tables leave out what fits no more
_ALWAYS = ("queue", "leader", "messages", "consumers")


def command(context: Context, names: Sequence[str] = ()) -> int:
    known = distinct(context.substrate.groups())
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"No node is called {unknown[0]!r}; there are {', '.join(known)}.")
    status = nodes.read(context, show=True)
    if names:
        status = of_nodes(status, names)
    if context.screen.json:
        print(json.dumps(status, indent=2))
    else:
        _show(context, status)
    return 0 if status["healthy"] else 1


def of_nodes(status: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The part of the document that concerns these nodes: with the queues that they lead or consume."""
    shown = [node for node in status["nodes"] if node["name"] in names]
    workers = {host: queues for host, queues in status["workers"].items() if host in names}
    consumed = {queue for queues in workers.values() for queue in queues}
    queues = {
        name: queue
        for name, queue in status["queues"].items()
        if queue["leader"] in names or name.rpartition("/")[2] in consumed
    }
    named = re.compile(rf"(?<![\w-])({'|'.join(map(re.escape, names))})(?![\w-])")
    wrong = [problem for problem in status["problems"] if named.search(problem["sentence"])]
    return {
        "healthy": not wrong,
        "problems": wrong,
        "nodes": shown,
        "workers": workers,
        "queues": queues,
        "applications": _here(status["applications"], names, queues),
        "alerts": [alert for alert in status["alerts"] if named.search(alert["summary"])],
    }


def _here(applications: Mapping[str, Any], names: Sequence[str], queues: Mapping[str, Any]) -> dict[str, Any]:
    """The applications that have units on these nodes, with what they have there."""
    found = {}
    for name, application in applications.items():
        parts = {
            key: {host: of for host, of in application[key].items() if host in names}
            for key in ("workers", "beat", "consumes")
        }
        if parts["workers"] or parts["beat"]:
            found[name] = {**parts, "queues": [key for key in application["queues"] if key in queues]}
    return found


def _coloured(text: str, *, good: bool) -> str:
    return f"[{'green' if good else 'red'}]{text}[/]"


def _show(context: Context, status: dict[str, Any]) -> None:
    screen, console = context.screen, context.screen.console
    screen.table(
        [
            {
                "node": node["name"],
                "state": _coloured(node["state"], good=node["state"] == "running"),
                "services": "  ".join(
                    _coloured(name, good=state == "active") + ("" if state == "active" else f" {state}")
                    for name, state in sorted(node["services"].items())
                ),
            }
            for node in status["nodes"]
        ]
    )
    if status["applications"]:
        screen.say("")
        screen.table(
            [_application(name, one, status["queues"]) for name, one in status["applications"].items()]
        )
    queues = _queues(status["queues"])
    if console.width < NARROWEST:
        queues = [{key: row[key] for key in _ALWAYS} for row in queues]
    if queues:
        screen.say("")
        screen.table(queues, right=("messages", "consumers"))
    screen.say("")
    if "cluster" in status:
        cluster = status["cluster"]
        console.print(
            f"cluster   {len(cluster['running'])} of {len(cluster['members'])} running,"
            f" {'all brokers agree' if cluster['seen_alike_by_all'] else 'brokers do not agree'},"
            f" {len(cluster['partitions'])} partitions, {len(cluster['alarms'])} alarms",
            soft_wrap=False,
        )
    known = state.read(context.paths)
    if known and known.topology not in ("", declaration.DEFAULT):
        screen.say(f"topology  {known.topology}")
    for alert in status["alerts"]:
        console.print(f"alert     {alert['name']}: {alert['summary']}", style="yellow", markup=False)
    for problem in status["problems"]:
        console.print(problem["sentence"], style="red", markup=False)
    console.print(_coloured("healthy" if status["healthy"] else "not healthy", good=status["healthy"]))


def _application(name: str, application: dict[str, Any], queues: dict[str, Any]) -> dict[str, str]:
    """Row of an application."""
    states = [state for units in application["workers"].values() for state in units.values()]
    beats = [f"{host} {state}" for host, units in application["beat"].items() for state in units.values()]
    consumed = sorted({queue for names in application["consumes"].values() for queue in names})
    up, waiting = states.count("active"), sum(queues[key]["messages"] for key in application["queues"])
    return {
        "application": name,
        "workers": _coloured(f"{up} of {len(states)} active", good=up == len(states)),
        "beat": ", ".join(_coloured(beat, good=beat.endswith(" active")) for beat in beats),
        "messages": str(waiting),
        "consumes": " ".join(queue.removeprefix(f"{name}.") for queue in consumed),
    }


def _queues(queues: dict[str, Any]) -> list[dict[str, str]]:
    """Rows of the applications' queues; those of client libraries only when messages wait."""
    return [
        {
            "application": queue["vhost"],
            "queue": name.removeprefix(f"{queue['vhost']}/"),
            "type": queue["type"],
            "leader": queue["leader"],
            "online": f"{len(queue['online'])}/{len(queue['members'])}" if queue["members"] else "",
            "messages": str(queue["messages"]),
            "consumers": str(queue["consumers"]),
        }
        for name, queue in sorted(
            queues.items(), key=lambda item: (item[1]["vhost"] != "mosaic", item[1]["vhost"], item[0])
        )
        if queue["messages"] or not _INTERNAL.match(name)
    ]
