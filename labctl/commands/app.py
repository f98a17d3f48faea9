"""app: adds an application of the user to the lab, lists and removes the added ones, and shows their logs."""

from __future__ import annotations

import json
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from labctl import context as lab_context
from labctl.applications import declaration, deploy, entries, source
from labctl.applications.declaration import Wanted
from labctl.commands import logs as journals
from labctl.context import Context
from labctl.errors import LabError, UsageError
from labctl.lab import state
from labctl.lab.files import shown
from labctl.lab.lock import exclusive
from labctl.paths import DOCKER_INVENTORY
from labctl.programs import remote
from labctl.status import nodes
from labctl.substrates.base import distinct

# Problems of another application must not prevent that this one is added.
_OF_APPLICATIONS = ("WorkersNotConsuming", "QueueWithoutConsumer")
# One line for each unit: its name and state; then the release.
_UNITS = (
    "systemctl show --property=Id,ActiveState {units} | paste -sd ' ' | sed 's/  */ /g';"
    ' basename "$(readlink /opt/{name}/current)"'
)


def add(context: Context, folder: Path, wanted: Wanted, *, confirmed: bool) -> int:
    """Declare the application in a folder, unless it is declared already, deploy it, and run a first task."""
    started = time.monotonic()
    paths, screen = context.paths, context.screen
    folder = _folder(folder)
    declaration.check_variables(wanted.variables)
    if wanted.python and not wanted.python.is_file():
        raise UsageError(
            f"There is no interpreter {wanted.python}: give an environment's Python, such as"
            " .venv/bin/python."
        )
    _require_docker(context)
    _require_running(context)
    source.check_python(folder)
    packed = source.pack(paths, folder)
    name = source.name_of(folder, wanted.name or _declared_name(context, folder))
    with exclusive(paths, "app"):
        entry = _declared(context, name, folder, wanted)
        if entry:
            read = replace(wanted, app=entry["app"])
            declaration.read(paths, screen, folder, packed, read, entry.get("environment") or {})
        else:
            _require_healthy(context)
            found = declaration.read(paths, screen, folder, packed, wanted)
            entry = declaration.make(folder, name, found, wanted)
            _show(context, entry, confirmed=confirmed)
            entries.add(paths, entry)
        _deploy(context, entry)
        answers = deploy.first_task(context, entry)
    for answer in answers:
        screen.say(
            f"{answer['worker']} ran a task of queue {answer['queue']} {answer['seconds']:.2f} s after it"
            " was published"
        )
    screen.say(
        f"{name} runs: {time.monotonic() - started:.0f} s. ./lab connect {name} shows how to publish to it."
    )
    return 0


def _folder(folder: Path) -> Path:
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}: give the folder of a Celery application.")
    return folder.resolve()


def _require_docker(context: Context) -> None:
    if context.substrate.inventory != DOCKER_INVENTORY:
        raise UsageError(
            "The applications of your own inventory are in its variable lab_added_applications: change"
            " them there, then run ./lab up (docs/how-to/run-your-application.md)."
        )


def _require_running(context: Context) -> None:
    asleep = [node for node, found in lab_context.states(context).items() if found != "running"]
    if asleep or state.read(context.paths) is None:
        raise UsageError(
            f"The lab is not complete, {', '.join(asleep) or 'its state'} is not there: run ./lab up, then"
            " try again."
        )


def _require_healthy(context: Context) -> None:
    """Raise UsageError when the lab has a problem, other than that of an application."""
    found = [
        problem["sentence"]
        for problem in nodes.read(context)["problems"]
        if problem["condition"] not in _OF_APPLICATIONS
        and not re.search(r"-(worker@|beat\b)", problem["sentence"])
    ]
    if found:
        raise UsageError(
            f"The lab is not healthy: {found[0]} Run ./lab up, which repairs it, then try again."
        )


def _declared_name(context: Context, folder: Path) -> str:
    """The name of the only application that has this source, "" when there is none or several."""
    names = [entry["name"] for entry in entries.read(context.paths) if _source(entry) == folder]
    return names[0] if len(names) == 1 else ""


def _source(entry: dict[str, Any]) -> Path:
    from labctl.paths import ROOT

    return (ROOT / str(entry.get("source", ""))).resolve()


def _declared(context: Context, name: str, folder: Path, wanted: Wanted) -> dict[str, Any] | None:
    file = shown(entries.file_of(context.paths))
    for entry in entries.read(context.paths):
        if entry["name"] == name:
            if _source(entry) != folder:
                raise UsageError(
                    f"The lab has an application {name} already, from {entry.get('source')}: choose"
                    " another name with --name."
                )
            if wanted.changes_declaration:
                raise UsageError(
                    f"{name} is declared already: change its entry in {file}, then run this command without"
                    " --app, --queue, --env and --deploy."
                )
            return entry
    return None


def _show(context: Context, entry: dict[str, Any], *, confirmed: bool) -> None:
    context.screen.say(f"\nFor {shown(entries.file_of(context.paths))}:\n\n{entries.shown(entry)}")
    if not confirmed and sys.stdin.isatty():
        click.confirm("Deploy it?", default=True, abort=True, err=True)


def _deploy(context: Context, entry: dict[str, Any]) -> None:
    name = entry["name"]
    try:
        if entries.is_deployed(context.paths, entry) and context.substrate.is_installed():
            deploy.release(context, name)
        else:
            # An application that could not be deployed must not prevent that of another.
            deploy.add(context, entries.without_undeployed(context.paths, name))
            entries.remember_deployed(context.paths, [entry])
    except UsageError:
        raise
    except LabError as error:
        cause = deploy.failure_of_units(context, name)
        why = f"\n  {cause}" if cause else ""
        raise LabError(
            f"{name} was not deployed; correct the error and run the same command again, or remove it with"
            f" ./lab app remove {name}.{why}\n{error}"
        ) from None


def list_all(context: Context) -> int:
    """Print the added applications, with the state of their units on each host."""
    lab_context.states(context)
    groups = context.substrate.groups()
    declared = entries.read(context.paths)
    with ThreadPoolExecutor(max_workers=len(declared) or 1) as pool:
        rows = list(pool.map(lambda entry: _facts(context, groups, entry), declared))
    if context.screen.json:
        print(json.dumps(rows, indent=2))
    elif not rows:
        context.screen.say("No application is added; ./lab app add FOLDER adds one.")
    else:
        context.screen.table([_row(row) for row in rows])
    return 0


def _facts(context: Context, groups: dict[str, list[str]], entry: dict[str, Any]) -> dict[str, Any]:
    name = entry["name"]
    workers = [f"{name}-worker@{worker['name']}.service" for worker in entry["workers"]]
    beat = groups["gateways"][:1] if entry.get("beat") else []
    units = {host: list(workers) for host in groups["workers"]}
    for host in beat:
        units.setdefault(host, []).append(f"{name}-beat.service")

    def ask(host: str) -> tuple[str, dict[str, str], str]:
        command = _UNITS.format(units=" ".join(units[host]), name=name)
        text = remote.output(context.substrate, host, ["sh", "-c", command], must_pass=False)
        lines = text.strip().splitlines()
        pairs = dict(zip(_values(text, "Id"), _values(text, "ActiveState"), strict=False))
        return (
            host,
            {unit: pairs.get(unit, "unknown") for unit in units[host]},
            lines[-1] if len(lines) > 1 else "",
        )

    with ThreadPoolExecutor(max_workers=len(units)) as pool:
        answers = list(pool.map(ask, units))
    releases = sorted({release for _, _, release in answers if release})
    return {
        "name": name,
        "source": entry.get("source", ""),
        "app": entry["app"],
        "workers": entry["workers"],
        "beat": bool(entry.get("beat")),
        "release": releases[0] if len(releases) == 1 else releases,
        "units": {host: states for host, states, _ in answers},
    }


def _values(text: str, key: str) -> list[str]:
    return [word.partition("=")[2] for word in text.split() if word.startswith(f"{key}=")]


def _row(row: dict[str, Any]) -> dict[str, str]:
    found = [found for states in row["units"].values() for found in states.values()]
    wrong = [
        f"{host} {unit.removesuffix('.service')} {found}"
        for host, states in row["units"].items()
        for unit, found in states.items()
        if found != "active"
    ]
    release = row["release"]
    return {
        "name": row["name"],
        "source": row["source"],
        "workers": "  ".join(f"{each['name']}: {_queues(each['queues'])}" for each in row["workers"]),
        "release": release if isinstance(release, str) else " ".join(release),
        "units": ", ".join(wrong) or f"{len(found)} active",
    }


def _queues(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def logs(context: Context, name: str, *, lines: int | None, since: str, follow: bool) -> int:
    """Print the journals of all units of an application, in order of time, or each new line of them."""
    lab_context.states(context)
    entries.find(context.paths, name)
    groups = context.substrate.groups()
    hosts = distinct({key: groups[key] for key in ("workers", "gateways")})
    return journals.command(context, journals.Choice([*hosts, f"{name}-*"], lines, since, follow))


def remove(context: Context, name: str, *, confirmed: bool) -> int:
    """Delete an application from all nodes, with its messages and its database, and its declaration."""
    paths = context.paths
    _require_docker(context)
    _require_running(context)
    entries.find(paths, name)
    context.screen.say(
        f"This deletes from all nodes: the units {name}-*, /opt/{name}, /etc/{name}, /var/lib/{name} and the"
        f" system user {name}; the vhost {name} with all its queues and messages; the database {name} with"
        " all its tables. The source folder stays."
    )
    if not confirmed:
        if not sys.stdin.isatty():
            raise UsageError("Nothing was deleted, because nobody can be asked here: give --yes.")
        click.confirm(f"Delete {name}?", abort=True, err=True)
    with exclusive(paths, "app"):
        _disconnect(context)
        # The declaration is the last to go, so that an interrupted removal is finished by the same command.
        rest = [entry for entry in entries.without_undeployed(paths, name) if entry["name"] != name]
        deploy.delete(context, name, rest)
        entries.remove(paths, name)
    context.screen.say(f"{name} is removed.")
    return 0


def _disconnect(context: Context) -> None:
    known = state.read(context.paths)
    if known and known.connected:
        state.write(context.paths, replace(known, connected=False))
        deploy.connection(context, "close AMQPS and PostgreSQL on 127.0.0.1")
