"""The user's own application in a drill: where its task goes, its settings, and its workers of the drill."""

import difflib
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labctl.audit.application import PROBE
from labctl.audit.rules import Finding, findings
from labctl.context import Context
from labctl.drills.injection import play
from labctl.drills.process_load import as_user
from labctl.errors import LabError, UsageError
from labctl.paths import ROOT
from labctl.programs.remote import output
from labctl.screen import Step

VHOST = "lab-drill"
WRAPPER = "celery_durable.wrap"
MODULES = ROOT / "playbooks" / "drills" / "files"
LIBRARY = ROOT / "celery_durable" / "src"
PACKAGE = "/usr/local/lib/warren/lab-drill.zip"
_NEAR = 4  # names in a message
_WORKER = re.compile(r"/etc/([^/]+)/worker-(.+)\.env:WORKER_QUEUES=(.*)")
_UNIT = re.compile(r"/etc/systemd/system/(.+)-worker@\.service:ExecStart=.* -A (\S+)")
_READ_SETTINGS = """set -e
cd "$(mktemp -d)"
{python} -m zipfile -e {package} .
{python} -B probe.py {code} found.json celery_durable/settings.py {app} >&2
cat found.json; rm -rf "$PWD"
"""


@dataclass(frozen=True)
class Variant:
    """How the application runs: as it is, or with make_durable, of which one setting can be left out."""

    durable: bool = False
    without: str = ""

    def __str__(self) -> str:
        return f"without {self.without}" if self.without else "durable" if self.durable else "as it is"

    @property
    def key(self) -> str:
        """For names of files."""
        return str(self).replace(" ", "-").replace("_", "-")


AS_IT_IS = Variant()


@dataclass(frozen=True)
class Call:
    """What the drill publishes: a task of an application, `rate` times a second.

    `dry`: seconds that every task sleeps instead of its work, None for its work.
    """

    application: str
    task: str
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] | None = None
    dry: float | None = None
    rate: float = 20.0


@dataclass(frozen=True)
class Application:
    """An application of the lab, and where its task goes. `instances`: its workers that consume `queue`."""

    name: str
    target: str
    queue: str
    instances: Sequence[str]
    call: Call

    @property
    def python(self) -> str:
        return f"/opt/{self.name}/current/venv/bin/python"

    @property
    def worker_unit(self) -> str:
        return f"{self.name}-drill@{self.instances[0]}.service"

    @property
    def folder(self) -> str:
        """Of the drill, on the gateway and on each worker host."""
        return f"/var/lib/{self.name}/lab-drill"

    def plan(self, **more: Any) -> str:
        """The first line for lab_drill_load.py."""
        return _plan(self.call, self.target, **more)


def find(context: Context, call: Call) -> Application:
    """Find the application in the lab, and where its task goes. Raises UsageError."""
    groups = context.substrate.groups()
    workers, targets = _declared(context, groups["workers"][0])
    names = sorted(targets.keys() - {"mosaic"})
    if call.application == "mosaic":
        raise UsageError("mosaic is the lab's own application: leave out --app.")
    if call.application not in names:
        known = f"it has {', '.join(names)}" if names else "it has none; ./lab app add deploys one"
        raise UsageError(f"The lab has no application {call.application!r}: {known}.")
    target = targets[call.application]
    queue = _queue(context, groups["gateways"][0], call, target)
    consumers = [name for name, queues in workers[call.application].items() if queue in queues]
    if not consumers:
        raise UsageError(
            f"{call.task} goes to the queue {queue}, which no worker of {call.application} consumes: add the"
            " queue to a worker in the declaration of the application."
        )
    return Application(call.application, target, queue, consumers, call)


def _declared(context: Context, host: str) -> tuple[dict[str, dict[str, list[str]]], dict[str, str]]:
    """The queues of each worker by application, and the Celery instance of each application."""
    script = (
        "grep -H ^WORKER_QUEUES= /etc/*/worker-*.env;"
        " grep -H ^ExecStart= /etc/systemd/system/*-worker@.service"
    )
    lines = output(context.substrate, host, ["sh", "-c", script], must_pass=False).splitlines()
    workers: dict[str, dict[str, list[str]]] = {}
    for found in filter(None, map(_WORKER.fullmatch, lines)):
        workers.setdefault(found[1], {})[found[2]] = found[3].split(",")
    units = filter(None, map(_UNIT.match, lines))
    return workers, {found[1]: found[2] for found in units if found[1] in workers}


def _queue(context: Context, host: str, call: Call, target: str) -> str:
    source = (MODULES / "lab_drill_load.py").read_text(encoding="utf-8")
    program = [f"/opt/{call.application}/current/venv/bin/python", "-c", source]
    words = as_user(call.application, [f"/etc/{call.application}/{call.application}.env"], program)
    answer = output(context.substrate, host, words, stdin=_plan(call, target) + "\n")
    event: dict[str, Any] = next(
        (json.loads(line) for line in answer.splitlines() if line.startswith('{"event"')), {}
    )
    if event.get("event") == "ready":
        return str(event["queue"])
    raise UsageError(_refusal(call, event))


def _refusal(call: Call, event: Mapping[str, Any]) -> str:
    match event.get("why"):
        case "unknown task":
            tasks = event["tasks"]
            last = {name.rpartition(".")[2]: name for name in tasks}
            near = difflib.get_close_matches(call.task, tasks, _NEAR)
            near += [
                last[name] for name in difflib.get_close_matches(call.task.rpartition(".")[2], last, _NEAR)
            ]
            names = list(dict.fromkeys(near))[:_NEAR] or tasks[:_NEAR]
            hint = f"it has {', '.join(names)}" + (" and others" if len(tasks) > len(names) else "")
            return f"{call.application} has no task {call.task!r}: {hint if tasks else 'it has no task'}."
        case "arguments":
            return f"{call.task} does not take these arguments, {event['error']}: correct --args or --kwargs."
        case "task_always_eager":
            return f"{call.application} has task_always_eager, so no task reaches a queue: remove it."
    return f"The application {call.application} printed no answer; ./lab logs {call.application} shows more."


def _plan(call: Call, target: str, **more: Any) -> str:
    return json.dumps(
        {"app": target, "task": call.task, "args": call.args, "kwargs": call.kwargs or {}, **more}
    )


class Prepared:
    """The workers of the drill and their vhost, as a context manager."""

    def __init__(
        self, context: Context, step: Step, application: Application, variant: Variant, run: str, folder: Path
    ) -> None:
        self._context = context
        self._step = step
        self._variables: dict[str, object] = {
            "drill_app": application.name,
            "drill_target": application.target,
            "drill_instances": list(application.instances),
            "drill_run": run,
            "drill_durable": variant.durable,
            "drill_without": variant.without,
            "drill_dry": "" if application.call.dry is None else str(application.call.dry),
            "drill_package": str(_package(folder / "lab-drill.zip")),
        }

    def __enter__(self) -> None:
        try:
            play(self._context, self._step, "application.yml", {**self._variables, "drill_action": "inject"})
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        play(self._context, self._step, "application.yml", {**self._variables, "drill_action": "heal"})


def _package(file: Path) -> Path:
    """One file with all modules, the same for the same modules: PYTHONPATH takes a zip file."""
    with zipfile.ZipFile(file, "w") as package:
        for source in [*sorted(MODULES.glob("*.py")), PROBE, *sorted(LIBRARY.rglob("*.py"))]:
            below = LIBRARY if LIBRARY in source.parents else source.parent
            package.writestr(zipfile.ZipInfo(str(source.relative_to(below))), source.read_bytes())
    return file


def lacking(context: Context, application: Application) -> list[Finding]:
    """The findings of an audit of the application as it runs on the gateway; needs its drill prepared."""
    script = _READ_SETTINGS.format(
        python=application.python,
        package=PACKAGE,
        code=f"/opt/{application.name}/current/code",
        app=application.target,
    )
    environment = [f"/etc/{application.name}/{application.name}.env"]
    words = as_user(application.name, environment, ["sh", "-c", script])
    gateway = context.substrate.groups()["gateways"][0]
    document = json.loads(output(context.substrate, gateway, words))
    if "error" in document:
        raise LabError(f"The settings of {application.name} cannot be read: {document['error']}.")
    return findings(document)
