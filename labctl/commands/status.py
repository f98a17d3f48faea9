"""status: how the lab is, from what each node says itself."""

import json
from typing import Any

from rich.table import Table

from labctl.context import Context
from labctl.lab import state
from labctl.status import nodes
from labctl.topology import declaration

_COLOURS = {True: "green", False: "red"}


def command(context: Context) -> int:
    status = nodes.read(context, show=True)
    if context.screen.json:
        print(json.dumps(status, indent=2))
    else:
        _show(context, status)
    return 0 if status["healthy"] else 1


def _show(context: Context, status: dict[str, Any]) -> None:
    console = context.screen.console
    table = Table(box=None, pad_edge=False)
    for title in ("node", "state", "services", "consumes"):
        table.add_column(title)
    for node in status["nodes"]:
        services = "  ".join(
            f"[{_COLOURS[state == 'active']}]{name}[/]" + ("" if state == "active" else f" {state}")
            for name, state in node["services"].items()
        )
        colour = _COLOURS[node["state"] == "running"]
        table.add_row(
            node["name"],
            f"[{colour}]{node['state']}[/]",
            services,
            " ".join(queue.removeprefix("mosaic.") for queue in status["workers"].get(node["name"], [])),
        )
    console.print(table, soft_wrap=False)
    _show_queues(context, status["queues"])
    cluster = status["cluster"]
    console.print(
        f"\ncluster   {len(cluster['running'])} of {len(cluster['members'])} running,"
        f" {'seen alike by all' if cluster['seen_alike_by_all'] else 'not seen alike by all'},"
        f" {len(cluster['partitions'])} partitions, {len(cluster['alarms'])} alarms"
    )
    known = state.read(context.paths)
    if known and known.topology not in ("", declaration.DEFAULT):
        console.print(f"topology  {known.topology}", markup=False)
    for alert in status["alerts"]:
        console.print(f"alert     {alert['name']}: {alert['summary']}", style="yellow", markup=False)
    for problem in status["problems"]:
        console.print(problem["sentence"], style="red", markup=False)
    console.print("healthy" if status["healthy"] else "not healthy", style=_COLOURS[status["healthy"]])


def _show_queues(context: Context, queues: dict[str, Any]) -> None:
    """The application's queues; those that client libraries keep for themselves only when messages wait."""
    shown = {
        name: queue
        for name, queue in queues.items()
        if queue["messages"]
        or not (name.startswith(("celery_delayed", "celeryev.")) or name.endswith("celery.pidbox"))
    }
    if not shown:
        return
    table = Table(box=None, pad_edge=False)
    for title in ("queue", "type", "leader", "online"):
        table.add_column(title)
    table.add_column("messages", justify="right")
    table.add_column("consumers", justify="right")
    for name, queue in sorted(shown.items()):
        online = f"{len(queue['online'])}/{len(queue['members'])}" if queue["members"] else ""
        table.add_row(
            name, queue["type"], queue["leader"], online, str(queue["messages"]), str(queue["consumers"])
        )
    context.screen.say("")
    context.screen.console.print(table, soft_wrap=False)
