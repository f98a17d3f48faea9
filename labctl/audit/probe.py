"""Runs in the application's Python: imports the application, and writes its configuration as JSON.

probe.py FOLDER OUTPUT SETTINGS [APP]: SETTINGS is celery_durable's settings.py, APP as for `celery -A`. No
task runs. The document has an `error`, or the keys that `labctl.audit.application.read` returns.
"""

import ast
import importlib
import json
import os
import platform
import re
import runpy
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import celery
from celery.app.defaults import DEFAULTS
from celery.app.utils import filter_hidden_settings, find_app
from kombu.utils.url import maybe_sanitize_url

MOST = 500  # characters of an error
AMQP = ("amqp", "amqps", "pyamqp", "pyamqps", "librabbitmq")
LEFT_OUT = r"\..*|venv|env|node_modules|site-packages|build|dist|docs|tests?|test_.*|conftest\.py|setup\.py"


def search(folder: Path) -> dict[str, Any]:
    """Return the Celery instances, MODULE:NAME -> instance. If there is none, raises the first error."""
    errors: list[BaseException] = []
    for pattern in (r"\bCelery\(", r"\bcelery\b"):  # modules that create one, then those that may import one
        found: dict[int, tuple[str, Any]] = {}
        for module in modules(folder, pattern):
            try:
                names = vars(importlib.import_module(module))
            except (Exception, SystemExit) as error:  # noqa: BLE001 - any code may run
                errors.append(error)
                continue
            for name, value in names.items():
                if issubclass(type(value), celery.Celery):  # the type: `current_app` is a proxy
                    found.setdefault(id(value), (f"{module}:{name}", value))
        if found:
            return dict(found.values())
    if errors:
        raise errors[0]
    return {}


def modules(folder: Path, pattern: str) -> Iterator[str]:
    """Names of the folder's modules that contain the pattern, those in the upper folders first."""
    files: list[Path] = []
    for base, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not re.fullmatch(LEFT_OUT, name)]
        files += [Path(base, name) for name in names if not re.fullmatch(LEFT_OUT, name)]
    for file in sorted(files, key=lambda file: (len(file.parts), file)):
        name = ".".join(file.relative_to(folder).with_suffix("").parts)
        name = name.removeprefix("src.").removesuffix(".__init__")
        usable = file.suffix == ".py" and all(part.isidentifier() for part in name.split("."))
        if usable and re.search(pattern, file.read_text(encoding="utf-8", errors="replace")):
            yield name


def transport(conf: Any) -> str:
    """Return the broker's transport, from its URL: the driver may not be installed here."""
    url = conf.broker_write_url
    first = url[0] if isinstance(url, (list, tuple)) else url or ""
    return first.partition("://")[0] if "://" in first else conf.broker_transport or "amqp"


def describe(name: str, app: Any, table: Path) -> dict[str, Any]:
    """Return the document that the audit checks."""
    conf = app.conf
    if transport(conf) not in AMQP:
        return {"error": {"name": name, "transport": transport(conf)}}
    app.loader.import_default_modules()
    app.finalize()
    tasks = [task for name, task in sorted(app.tasks.items()) if not name.startswith("celery.")]
    return {
        "name": name,
        "celery": celery.__version__,
        "python": platform.python_version(),
        "prefix": conf.prefix or "",
        "configuration": configuration(conf),
        "settings": [judged(setting, conf) for setting in runpy.run_path(str(table))["SETTINGS"]],
        "tasks": [described(task, conf) for task in tasks],
        "queues": [queue(found) for found in app.amqp.queues.values()],
        "consumed": consumed(app),
        "custom_backend": app.backend_cls is not None,
        "own_tls": bool(conf.broker_use_ssl),
        "sqlite": sqlite(),
        "beat": [periodic(key, entry) for key, entry in (conf.beat_schedule or {}).items()],
    }


def sqlite() -> str:
    """The file of Django's SQLite database, "" when it uses none."""
    django = sys.modules.get("django.conf")
    databases = django.settings.DATABASES if django and django.settings.configured else {}
    engines = (each for each in databases.values() if each.get("ENGINE", "").endswith("sqlite3"))
    return next((str(each["NAME"]) for each in engines), "").replace(":memory:", "")


def configuration(conf: Any) -> dict[str, Any]:
    """The effective value of each setting, without passwords; the URLs of brokers are lists."""
    values = {name: getattr(conf, name) for name in DEFAULTS if name != "beat_schedule"}
    urls = {name: values.pop(name) for name in ("broker_url", "broker_read_url", "broker_write_url")}
    for name, url in urls.items():
        urls[name] = url.split(";") if isinstance(url, str) else list(url or ())
    return {name: plain(value) for name, value in {**filter_hidden_settings(values), **urls}.items()}


def judged(setting: Any, conf: Any) -> dict[str, Any]:
    """Return a setting of celery_durable, and whether the application's value is enough."""
    known = setting.name in conf
    return {
        "name": setting.name,
        "without": setting.without,
        "drills": setting.drills,
        "known": known,
        "suffices": known and setting.suffices(conf),
        "loses": known and setting.loses(conf[setting.name]),
        "wanted": repr(literal(setting.wanted(conf))),
    }


def literal(value: Any) -> Any:
    """Return the value. Of a mapping, only what a configuration file can contain."""
    if not isinstance(value, Mapping):
        return value
    return {key: literal(inner) for key, inner in value.items() if is_literal(repr(literal(inner)))}


def is_literal(text: str) -> bool:
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return False
    return True


def described(task: Any, conf: Any) -> dict[str, Any]:
    return {
        "name": task.name,
        "acks_late": bool(task.acks_late),
        "reject_on_worker_lost": bool(task.reject_on_worker_lost),
        "time_limit": conf.task_time_limit if task.time_limit is None else task.time_limit,
    }


def queue(found: Any) -> dict[str, Any]:
    return {
        "name": found.name,
        "type": (found.queue_arguments or {}).get("x-queue-type", "classic"),
        "exchange_type": found.exchange.type if found.exchange else "direct",
        "temporary": bool(found.exclusive or found.auto_delete),
    }


def consumed(app: Any) -> list[str]:
    """Names of the queues that a worker must consume so that no task waits, the default one first."""
    conf = app.conf
    names = list(app.amqp.queues)
    if getattr(conf, "task_create_missing_queues", True):
        routes = conf.task_routes or {}
        listed = routes if isinstance(routes, (list, tuple)) else [routes]
        routes = [route for table in listed if isinstance(table, Mapping) for route in table.values()]
        entries = (conf.beat_schedule or {}).values()
        options = [entry.get("options") for entry in entries if isinstance(entry, Mapping)]
        chosen = [found.get("queue") for found in (*routes, *options) if isinstance(found, Mapping)]
        chosen += [route for route in routes if isinstance(route, str)]
        chosen += [getattr(task, "queue", None) for task in app.tasks.values()]
        names += [getattr(name, "name", name) for name in chosen if name]
        names.insert(0, conf.task_default_queue)
    return list(dict.fromkeys(str(name) for name in names))


def periodic(key: str, entry: Any) -> dict[str, Any]:
    fields = entry if isinstance(entry, Mapping) else vars(entry)
    return {"name": key, "task": fields.get("task"), "schedule": str(fields.get("schedule"))}


def plain(value: Any) -> Any:
    """Return the value with the types of JSON."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, str):
        return maybe_sanitize_url(value)
    return value if value is None or isinstance(value, (bool, int, float)) else repr(value)


def cause(error: BaseException, folder: Path) -> dict[str, Any]:
    """Return the error, and the last line of the application's own code in its traceback."""
    lines = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    text = str(error)
    if isinstance(error, SyntaxError):
        lines.append((error.filename or "", error.lineno))
        text = error.msg
    own = [(Path(name).relative_to(folder), line) for name, line in lines if folder in Path(name).parents]
    return {
        "cause": f"{type(error).__name__}: {' '.join(text.split())[:MOST]}",
        "where": f" ({own[-1][0]}, line {own[-1][1]})" if own else "",
    }


def main() -> None:
    folder, output, table = (Path(word).resolve() for word in sys.argv[1:4])
    sys.path[:0] = [str(folder), str(folder / "src")]
    try:
        found = {name: find_app(name) for name in sys.argv[4:]} or search(folder)
        names = list(found)
        usable = len(names) == 1 and isinstance(found[names[0]], celery.Celery)
        document = describe(names[0], found[names[0]], table) if usable else {"error": {"found": names}}
    except BaseException as error:  # noqa: BLE001 - SystemExit too, from any code
        document = {"error": cause(error, folder)}
    output.write_text(json.dumps(document), encoding="utf-8")
    os._exit(0)  # does not wait for threads that the application started


if __name__ == "__main__":
    main()
