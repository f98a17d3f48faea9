"""Pages of docs/reference: commands, topology, ports, queues, alerts and drills."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import yaml
from jinja2.nativetypes import NativeEnvironment

from labctl.audit.rules import guards
from labctl.cli import cli
from labctl.docs.markdown import names, table
from labctl.drills.catalogue import DRILLS, JOBS
from labctl.drills.definition import Drill
from labctl.paths import ROOT
from labctl.topology.declaration import MINIMUM_MEMORY_MB, REQUIRED_GROUPS, TOPOLOGY_FILE
from labctl.topology.model import GROUPS

SETTINGS = ROOT / "playbooks" / "group_vars" / "all.yml"
RULES = (
    *sorted((ROOT / "roles" / "monitoring" / "files" / "rules").glob("*.yml")),
    ROOT / "app" / "alerts.yml",
)
#: What listens on the ports that the firewall opens.
LISTENERS: dict[int | str, str] = {
    443: "nginx: console, API and the pages behind the login, HTTPS",
    4369: "epmd, which gives the port of a node's Erlang distribution",
    5432: "PostgreSQL, TLS",
    5555: "Flower, HTTPS",
    5670: "the health check of the broker: answers `up` or `down`, TLS",
    5671: "RabbitMQ, AMQP over TLS",
    8405: "HAProxy's metrics, HTTPS",
    9090: "Prometheus, HTTPS",
    9100: "node exporter, HTTPS",
    9187: "PostgreSQL exporter, HTTPS",
    9464: "metrics of the application, HTTPS",
    15671: "RabbitMQ's management API and pages, HTTPS",
    15691: "RabbitMQ's metrics, HTTPS",
    25672: "Erlang distribution between brokers, TLS",
    "6000-6500": "copies of a stream, while there is one, TLS",
    "35672-35682": "rabbitmqctl while it runs: brokers send it the rows of a list, TLS",
}
_HOST = "HOST"  # in place of the name of a worker host


def load(file: Path) -> Any:
    """Content of a YAML file."""
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def commands(command: click.Command = cli, parent: click.Context | None = None) -> str:
    """Every command with its usage, its help and its options."""
    context = click.Context(command, info_name=command.name if parent else "./lab", parent=parent)
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    parts = [f"## `{context.command_path}`", " ".join((command.help or "").split()), f"    {usage}"]
    options = [
        option.get_help_record(context) for option in command.params if isinstance(option, click.Option)
    ]
    rows = [(f"`{record[0]}`", record[1]) for record in options if record]
    parts += [table(("option", "what it does"), rows)] if rows else []
    if isinstance(command, click.Group):
        parts += [commands(command.commands[name], context) for name in command.list_commands(context)]
    return "\n\n".join(parts)


def topology() -> str:
    """Keys of inventories/topology.yml, and what each group has by default."""
    keys = re.findall(r"^#   (\w+) {2,}(.+)$", TOPOLOGY_FILE.read_text(encoding="utf-8"), re.MULTILINE)
    declared = load(TOPOLOGY_FILE)["groups"]
    shown = ("count", "first_address", "memory_mb", "publish", "data")
    rows = []
    for group in GROUPS:
        needs = ("yes" if group in REQUIRED_GROUPS else "no", MINIMUM_MEMORY_MB[group])
        rows.append((f"`{group}`", *needs, *(declared[group].get(key, "-") for key in shown)))
    titles = ("group", "required", "least `memory_mb`", *(f"`{key}`" for key in shown))
    return f"""## Keys

{table(("key", "what it is"), [(f"`{key}`", what) for key, what in keys])}

## Groups, and the topology that you start with

{table(titles, rows)}"""


def ports() -> str:
    """What is reachable on the hosts of each group, from the data of the firewall."""
    settings = load(SETTINGS)
    environment = NativeEnvironment()
    environment.filters["extract"] = lambda key, container: container[key]
    # Each group has one host, whose name and address are the group's name.
    known: dict[str, Any] = {
        "groups": {group: [group] for group in GROUPS},
        "lab_workers": ["workers"],
        "lab_addresses": dict(zip(GROUPS, GROUPS, strict=True)),
    }
    for name in ("lab_brokers", "lab_proxied", "lab_clients", "lab_gateways", "lab_monitors"):
        known[name] = list(environment.from_string(settings[name]).render(known))
    rows = []
    for group, services in settings["lab_services"].items():
        for service in services:
            sources = "everybody who reaches the node"
            if "from" in service:
                sources = names(environment.from_string(service["from"]).render(known))
            on = "every host" if group == "all" else f"`{group}`"
            rows += [(port, on, LISTENERS[port], sources) for port in service["ports"]]
    return "## Ports\n\n" + table(
        ("port", "on", "what listens", "who may connect"), sorted(rows, key=_by_port)
    )


def _by_port(row: Sequence[object]) -> tuple[int, str]:
    return int(str(row[0]).partition("-")[0]), str(row[1])


def queues() -> str:
    """Exchanges, queues and bindings, and which queue a task goes to; needs the application's packages."""
    from mosaic import topology
    from mosaic.kinds import KINDS

    settings = load(SETTINGS)
    consumers: dict[str, list[str]] = {topology.LOGS: ["mosaic-log-store"]}
    (application,) = settings["lab_applications"]
    for worker in application["workers"]:
        for name in worker["queues"]:
            consumers.setdefault(name.replace("%H", _HOST), []).append(f"mosaic-worker@{worker['name']}")
    exchanges, rows = {}, []
    for queue in (*topology.task_queues(_HOST), *topology.plain_queues()):
        exchanges[f"`{queue.exchange.name}`"] = queue.exchange.type
        binding = [f"`{name}`" for name in (queue.name, queue.exchange.name, queue.routing_key)]
        rows.append((*binding, names(consumers.get(queue.name, [])), *_limits(queue, settings)))
    titles = ("queue", "exchange", "routing key", "consumers", "delivery limit", "dead letters to", "expires")
    jobs = {f"mosaic.{kind.name}.*": kind.summary for kind in KINDS.values()}
    routes = topology.task_routes().items()
    tasks = [(f"`{task}`", f"`{to['queue']}`", jobs.get(task, "-")) for task, to in routes]
    return f"""## Exchanges

{table(("exchange", "type"), exchanges.items())}

## Queues and bindings

Each of them is a quorum queue. `{_HOST}` is the name of a worker host.

{table(titles, rows)}

## Tasks

{table(("task", "queue", "job"), tasks)}"""


def _limits(queue: Any, settings: dict[str, Any]) -> tuple[str, ...]:
    """Delivery limit and dead-letter exchange, of the policy that applies to a queue, and its expiry."""
    policies = settings["rabbitmq_policies"]
    found = next(policy["definition"] for policy in policies if re.search(policy["pattern"], queue.name))
    limit = found["delivery-limit"]
    dead = f"`{found['dead-letter-exchange']}`" if "dead-letter-exchange" in found else "-"
    return "none" if limit < 0 else str(limit), dead, f"{queue.expires:g} s" if queue.expires else "-"


def alerts() -> str:
    """Each alert: when it fires, what it means, what to do."""
    groups = [group for file in RULES for group in load(file)["groups"]]
    rules = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    return "\n\n".join(map(_alert, sorted(rules, key=lambda rule: str(rule["alert"]))))


def _alert(rule: dict[str, Any]) -> str:
    # `{instance}` reads better than Prometheus's `{{ $labels.instance }}`.
    summary, remedy = (
        re.sub(r"\{\{ \$(?:labels\.)?(\w+)[^}]*\}\}", r"{\1}", rule["annotations"][name])
        for name in ("summary", "remedy")
    )
    return f"""## {rule["alert"]}

{summary} Severity: {rule["labels"]["severity"]}.

**What to do:** {remedy}

It fires when this is true{f" for {rule['for']}" if "for" in rule else ""}:

```promql
{rule["expr"].strip()}
```"""


def drills() -> str:
    """Each drill: what it breaks, what must be true afterwards, which lab it needs."""
    parts = names(drill.name for drill in JOBS.drills)
    rows = [*map(_drill, DRILLS), (f"`{JOBS.name}`", f"{JOBS.breaks} ({parts})", JOBS.expects, "-", "-")]
    titles = ("drill", "what it breaks", "what must be true", "needs", "settings that guard against it")
    return f"## Drills\n\n{table(titles, rows)}"


def _drill(drill: Drill) -> tuple[str, ...]:
    least = "".join(f", {metric} >= {seconds:g} s" for metric, seconds in drill.at_least.items())
    needs = ", ".join(f"{count} {group}" for group, count in drill.needs.items()) or "-"
    return (
        f"`{drill.name}`",
        drill.breaks,
        drill.expectation() + least,
        needs,
        names(guards().get(drill.name, [])) or "-",
    )
