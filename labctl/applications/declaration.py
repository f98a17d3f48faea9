"""The declaration of an application, from its source and from its configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.version import Version

from labctl.applications import source
from labctl.audit import application, environment
from labctl.errors import UsageError
from labctl.lab.lock import exclusive
from labctl.paths import LabPaths
from labctl.screen import Screen

IMPORT_S = 60.0
OLDEST_CELERY = "5.3"  # the first with SQLAlchemy 2, which the result backend needs
CONCURRENCY = 2
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BY_LAB = re.compile(r"WORKER_(QUEUES|CONCURRENCY|PREFETCH|OPTIONS)|CELERY_(BROKER_URL|RESULT_BACKEND)")
_UNFIT_QUEUE = re.compile(r"[,\"'\\\n]")
# As role celery_app sets them; the import must not need a server.
_URL = "postgresql://app:password@localhost:5432/app"
_EXAMPLES = {
    "broker_url": "amqp://app:password@127.0.0.1:5672/app",
    "result_backend": f"db+{_URL.replace('://', '+psycopg://')}",
    "database_url": _URL,
    "database_host": "localhost",
    "database_port": "5432",
    "database_name": "app",
    "database_user": "app",
    "database_password": "password",
    "ca_file": "/etc/warren/pki/ca.pem",
    "data_dir": "/var/lib/app",
}


@dataclass(frozen=True)
class Wanted:
    """What the user chose: further queues, variables NAME=VALUE, and commands for each release."""

    name: str = ""
    app: str = ""
    python: Path | None = None
    queues: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    deploy: tuple[str, ...] = field(default_factory=tuple)

    @property
    def changes_declaration(self) -> bool:
        """Whether it has something that a declaration contains, beside the name."""
        return bool(self.app or self.queues or self.variables or self.deploy)


def make(folder: Path, name: str, found: Mapping[str, Any], wanted: Wanted) -> dict[str, Any]:
    """The declaration of the application in a folder, from what application.read found."""
    queues = list(dict.fromkeys([*found["consumed"], *wanted.queues]))
    entry: dict[str, Any] = {
        "name": name,
        "source": str(folder),
        "app": found["name"],
        "workers": [{"name": "default", "queues": queues, "concurrency": CONCURRENCY}],
    }
    if found["beat"]:
        entry["beat"] = True
    if found["variables"]:
        entry["environment"] = found["variables"]
    migrate = ["python manage.py migrate --noinput"] if source.django_settings(folder) else []
    if wanted.deploy or migrate:
        entry["deploy"] = list(wanted.deploy) or migrate
    return entry


def read(
    paths: LabPaths,
    screen: Screen,
    folder: Path,
    packed: dict[str, str],
    wanted: Wanted,
    variables: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What application.read finds in a copy of what is deployed, with the environment that the lab sets.

    variables: those of an existing declaration; else they are found, and returned under this key. Raises
    UsageError.
    """
    if wanted.python:
        interpreter = wanted.python.absolute()
    else:
        with exclusive(LabPaths("cache", paths.root), "app", wait=True):
            interpreter = environment.interpreter(folder, paths.cache, screen)
    with screen.step("import the application") as step, source.unpacked(packed) as copy:
        given = dict(_variables(copy, wanted) if variables is None else variables)
        values = {name: _filled(str(value)) for name, value in given.items()}
        values["CELERY_BROKER_URL"] = _EXAMPLES["broker_url"]
        values["CELERY_RESULT_BACKEND"] = _EXAMPLES["result_backend"]
        try:
            found = application.read(copy, interpreter, wanted.app, IMPORT_S, values)
        except UsageError as error:
            raise UsageError(str(error).replace(str(copy), str(folder))) from None
        counts = ", ".join(f"{len(found[key])} {key}" for key in ("tasks", "queues"))
        step.result = (
            f"{found['name']}, Celery {found['celery']}, {counts}, {len(found['beat'])} periodic tasks"
        )
    _check(found, [*found["consumed"], *wanted.queues])
    return {**found, "variables": given}


def check_variables(variables: tuple[str, ...]) -> None:
    """Raise UsageError for a variable that cannot be set."""
    for text in variables:
        name, equals, value = text.partition("=")
        if not equals or not _VARIABLE.fullmatch(name):
            raise UsageError(f"--env {text!r} is not NAME=VALUE; use letters, digits and _ for the name.")
        if _BY_LAB.fullmatch(name):
            raise UsageError(f"The lab sets {name} itself; leave out --env {name}.")
        unknown = [field for field in re.findall(r"\{(\w+)\}", value) if field not in _EXAMPLES]
        if unknown:
            raise UsageError(
                f"--env {text!r} has {{{unknown[0]}}}; what the lab fills in is"
                f" {', '.join(sorted(_EXAMPLES))}."
            )


def _variables(folder: Path, wanted: Wanted) -> dict[str, str]:
    """Variables that the source needs, and those of the user."""
    found: dict[str, str] = {}
    settings = source.django_settings(folder)
    if settings:
        found["DJANGO_SETTINGS_MODULE"] = settings
    if source.mentions(folder, "DATABASE_URL"):
        found["DATABASE_URL"] = "{database_url}"
    for text in wanted.variables:
        name, _, value = text.partition("=")
        found[name] = value
    return found


def _filled(value: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: _EXAMPLES.get(found[1], found[0]), value)


def _check(found: Mapping[str, Any], queues: list[str]) -> None:
    if Version(found["celery"]) < Version(OLDEST_CELERY):
        raise UsageError(
            f"The application has Celery {found['celery']}, and the lab runs Celery {OLDEST_CELERY} and"
            " newer: raise the version in its requirements."
        )
    if found["custom_backend"]:
        raise UsageError(
            f"{found['name']} has a result backend of its own class, so CELERY_RESULT_BACKEND, by which"
            " the lab sets PostgreSQL, has no effect: set result_backend instead of the class."
        )
    if found["own_tls"]:
        raise UsageError(
            f"{found['name']} sets broker_use_ssl, and its workers reach the brokers through HAProxy of"
            " their own host, which adds TLS: leave broker_use_ssl unset when CELERY_BROKER_URL is set."
        )
    if found["sqlite"]:
        raise UsageError(
            f"Django's database is the SQLite file {Path(found['sqlite']).name}, in a folder that the hosts"
            " cannot write: let the settings read the database from the environment, and set PostgreSQL, for"
            " example with --env 'DB_HOST={database_host}', and {database_port}, {database_name},"
            " {database_user} and {database_password}."
        )
    unfit = [name for name in queues if _UNFIT_QUEUE.search(name) or name != name.strip() or not name]
    if unfit:
        raise UsageError(
            f"A worker cannot be told to consume the queue {unfit[0]!r}, because its name is empty, begins"
            " or ends with a space, or has a comma, a quote or a backslash: rename the queue."
        )
    if not found["tasks"]:
        raise UsageError(
            f"{found['name']} has no tasks, so its workers would have nothing to execute: import the modules"
            " that declare them, for example with imports=(...) or autodiscover_tasks, or name the instance"
            " that has them with --app."
        )
