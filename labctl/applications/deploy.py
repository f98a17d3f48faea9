"""Deploys an application: the roles that depend on its declaration, or only its new release."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from labctl.ansible import playbooks
from labctl.context import Context
from labctl.errors import LabError
from labctl.programs import remote
from labctl.substrates.base import distinct

PROGRAMS = "/usr/local/lib/warren"
PING_S = 120.0
_TAGS = ("--tags", "applications")


def add(context: Context, applications: list[dict[str, Any]]) -> None:
    """Configure the nodes for these applications. Raises LabError or UsageError."""
    declared: dict[str, object] = {"lab_added_applications": applications}
    if not _install(context, declared):
        _operation(context, "configure the nodes", "add_application", declared)


def release(context: Context, name: str) -> None:
    """Install and activate the source of an application as it is now, and restart its units."""
    _operation(context, "deploy the release", "deploy", {"application": name}, [])


def delete(context: Context, name: str, rest: list[dict[str, Any]]) -> None:
    """Delete units, files, users, vhost and database of an application; `rest`: the declared others."""
    others: dict[str, object] = {"lab_added_applications": rest}
    _install(context, others)
    _operation(context, f"delete {name}", "remove_application", {"application": name, **others})


def _install(context: Context, variables: dict[str, object]) -> bool:
    """Run site.yml where the nodes have other roles than ./lab; returns whether it did."""
    substrate = context.substrate
    if substrate.is_installed():
        return False
    _play(context, "install and configure the nodes", "site.yml", [], variables)
    substrate.remember_installed()
    return True


def connection(context: Context, title: str) -> None:
    """Open or close the ports of ./lab connect on the gateways, as lab.json says."""
    _operation(context, title, "connect", {}, [])


def first_task(context: Context, entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Publish lab.ping to one queue of each worker instance: queue, worker, seconds of each. LabError."""
    gateway = context.substrate.groups()["gateways"][0]
    name = entry["name"]
    queues = [_queue(worker, context) for worker in entry["workers"]]
    words = ["python", f"{PROGRAMS}/lab_celery.py", "ping", entry["app"], *queues]
    release = f'"$(basename "$(readlink /opt/{name}/current)")"'
    command = f"exec {PROGRAMS}/run-release {name} {release} {shlex.quote(shlex.join(words))}"
    with context.screen.step("run a first task") as step:
        try:
            text = remote.output(context.substrate, gateway, ["sh", "-c", command], seconds=PING_S)
            answers: list[dict[str, Any]] = json.loads(text.strip().splitlines()[-1])
        except (LabError, ValueError, IndexError) as error:
            raise LabError(
                f"{name} is deployed, but a task of the lab, lab.ping, did not run: {error}; ./lab app"
                f" logs {name} shows what its workers do."
            ) from None
        step.result = ", ".join(f"{each['queue']}: {each['worker']}" for each in answers)
    return answers


def _queue(worker: Mapping[str, Any], context: Context) -> str:
    host = context.substrate.groups()["workers"][0]
    return str(worker["queues"][0]).replace("%H", host)


def _operation(
    context: Context, title: str, name: str, variables: dict[str, object], tags: Sequence[str] = _TAGS
) -> None:
    _play(context, title, f"operations/{name}.yml", ["--skip-tags", "install", *tags], variables)


def _play(
    context: Context, title: str, playbook: str, arguments: list[str], variables: dict[str, object]
) -> None:
    forks = ["--forks", str(len(distinct(context.substrate.groups())))]
    with context.screen.step(title) as step:
        run = playbooks.run(
            context.paths,
            playbook,
            step,
            inventory=context.substrate.inventory,
            arguments=[*forks, *arguments],
            variables=variables or None,
        )
        step.result = run.summary()


def failure_of_units(context: Context, name: str) -> str:
    """The last error in the journal of an application's workers, "" when none is found."""
    for host in context.substrate.groups()["workers"]:
        command = ["journalctl", "--no-pager", "--output=cat", "--lines=60", f"--unit={name}-*"]
        text = remote.output(context.substrate, host, command, must_pass=False)
        errors = re.findall(
            r"^(?:\w+\.)*\w*(?:Error|Exception|Refused|NotFound|Configured): .+$", text, re.MULTILINE
        )
        if errors:
            return f"{host}: {errors[-1]}"
    return ""
