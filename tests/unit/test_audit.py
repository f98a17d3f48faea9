"""./lab audit: small applications, imported with the Celery of the development packages."""

from __future__ import annotations

import json
import sys
import time
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from labctl.audit import application, environment
from labctl.audit.rules import Finding, findings
from labctl.cli import cli
from labctl.commands import audit
from labctl.drills import catalogue
from labctl.errors import UsageError
from labctl.paths import ROOT
from labctl.screen import Screen

# The second Python of the unit tests has no Celery.
PYTHON = Path(sys.executable) if find_spec("celery") else ROOT / ".venv" / "bin" / "python"
LIBRARY = ROOT / "celery_durable" / "src"
PLAIN = """
from celery import Celery, current_app

app = Celery("shop", broker="amqp://user:a-password@127.0.0.1:1//")


@app.task
def resize(image_id):
    raise RuntimeError("a task that the audit must not run")
"""
DURABLE = f"""
import sys
sys.path.append({str(LIBRARY)!r})
from celery_durable import make_durable
{PLAIN}
make_durable(app)
"""
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes files into the application's folder. No environment variable configures Celery."""
    for name in ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "CELERY_CONFIG_MODULE"):
        monkeypatch.delenv(name, raising=False)

    def files(content: str = "", **more: str) -> Path:
        folder = tmp_path / "shop"
        for name, text in {**({"shop.py": content} if content else {}), **more}.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        return folder

    return files


def read(folder: Path, app: str = "", limit: float = 30) -> dict[str, Any]:
    return application.read(folder, PYTHON, app, limit)


def found(folder: Path, app: str = "") -> dict[str, Finding]:
    return {finding.setting: finding for finding in findings(read(folder, app))}


def refused(folder: Path, app: str = "", limit: float = 30) -> str:
    with pytest.raises(UsageError) as error:
        read(folder, app, limit)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_plain_application_loses_tasks(write: Write) -> None:
    shown = found(write(PLAIN))
    assert [finding.setting for finding in shown.values() if finding.risk == "lost"] == [
        "task_acks_late",
        "task_reject_on_worker_lost",
        "broker_transport_options",
        "task_default_queue_type",
        "task_create_missing_queue_type",
    ]
    late = shown["task_acks_late"]
    assert (late.value, late.add, late.where) == ("False", "app.conf.task_acks_late = True", ["shop.resize"])
    assert late.what.endswith("48 of 7389 tasks when one lost power.")
    assert "power-off-worker" in late.drills
    assert shown["task_default_queue_type"].where == ["celery"]
    assert shown["worker_consumer"].add == "app = make_durable(app)"
    assert shown["broker_connection_max_retries"].drills == []


def test_each_line_to_add_removes_its_finding(write: Write) -> None:
    shown = found(write(PLAIN))
    lines = "\n".join(finding.add for finding in shown.values())
    folder = write(f"{PLAIN}\nmake_durable = lambda app: app\n{lines}\n")
    assert set(found(folder)) == {"worker_consumer"}


def test_a_durable_application_has_no_finding(write: Write) -> None:
    assert found(write(DURABLE)) == {}


def test_no_task_runs_and_no_password_is_shown(write: Write) -> None:
    folder = write(
        PLAIN + "app.conf.broker_transport_options = {'login_method': 'PLAIN', 'password': 'a-password'}\n"
        "app.conf.result_backend = 'db+postgresql://user:a-password@three/db'\n"
        "app.conf.broker_read_url = ['amqp://user:a-password@one//', 'amqp://user:a-password@two//']\n"
    )
    text = json.dumps(read(folder))
    assert "a-password" not in text
    assert "amqp://user:**@two//" in text


def test_a_task_that_overrides_the_setting_is_named(write: Write) -> None:
    folder = write(DURABLE + "\n@app.task(acks_late=False)\ndef email(): ...\n")
    shown = found(folder)
    assert list(shown) == ["task_acks_late"]
    finding = shown["task_acks_late"]
    assert (finding.value, finding.risk, finding.where) == ("False", "lost", ["shop.email"])
    assert finding.add == "@app.task(acks_late=True)"


def test_tasks_that_are_late_by_themselves_are_no_finding(write: Write) -> None:
    folder = write(PLAIN.replace("@app.task", "@app.task(acks_late=True, reject_on_worker_lost=True)"))
    assert {"task_acks_late", "task_reject_on_worker_lost"} & set(found(folder)) == set()


@pytest.mark.parametrize("default", ["classic", "quorum"])
def test_queues_are_judged_as_they_will_be_declared(write: Write, default: str) -> None:
    queues = f"""
from kombu import Exchange, Queue
quorum = {{"x-queue-type": "quorum"}}
app.conf.task_default_queue_type = {default!r}
app.conf.task_queues = [
    Queue("good", Exchange("t", type="topic"), "good", queue_arguments=quorum),
    Queue("direct", Exchange("d"), "direct", queue_arguments=quorum),
    Queue("classic", Exchange("t", type="topic"), "classic"),
    Queue("gone soon", Exchange("d"), "gone", auto_delete=True),
]
"""
    shown = found(write(PLAIN + queues))
    kind, exchange = shown["task_default_queue_type"], shown["task_default_exchange_type"]
    assert (kind.where, kind.value, kind.risk) == (["classic"], "'classic'", "lost")
    assert kind.add.startswith("Queue(")
    assert (exchange.where, exchange.risk) == (["direct"], "stalls")
    assert exchange.add.startswith("Queue(")


def test_settings_of_a_namespace_are_read_and_written_as_such(write: Write) -> None:
    settings = "DEBUG = True\nCELERY_TASK_ACKS_LATE = True\nCELERY_BROKER_HEARTBEAT = 60\n"
    code = "from celery import Celery\napp = Celery()\n"
    code += "app.config_from_object('site_settings', namespace='CELERY')\n"
    folder = write(**{"proj/celery.py": code, "proj/__init__.py": "", "site_settings.py": settings})
    application_ = read(folder)
    assert application_["name"] == "proj.celery:app"
    shown = {finding.setting: finding for finding in findings(application_)}
    assert "task_acks_late" not in shown
    assert shown["broker_heartbeat"].value == "60"
    assert shown["broker_heartbeat"].add == "CELERY_BROKER_HEARTBEAT = 10"


def test_a_django_application_with_its_tasks(write: Write) -> None:
    folder = write(
        **{
            "site_/__init__.py": "from .celery import app as celery_app",
            "site_/celery.py": "import os\nfrom celery import Celery\n"
            "os.environ['DJANGO_SETTINGS_MODULE'] = 'site_.settings'\n"
            "app = Celery()\napp.config_from_object('django.conf:settings', namespace='CELERY')\n"
            "app.autodiscover_tasks()\n",
            "site_/settings.py": "SECRET_KEY = 'a-password'\nINSTALLED_APPS = ['blog']\n"
            "CELERY_TASK_ACKS_LATE = True\n",
            "blog/__init__.py": "",
            "blog/tasks.py": "from celery import shared_task\n@shared_task\ndef post(): ...\n",
        }
    )
    application_ = read(folder)
    assert [(task["name"], task["acks_late"]) for task in application_["tasks"]] == [
        ("blog.tasks.post", True)
    ]
    assert "a-password" not in json.dumps(application_)


@pytest.mark.parametrize(
    ("lines", "setting", "value", "risk"),
    [
        ("app.conf.task_always_eager = True", "task_always_eager", "True", "lost"),
        ("app.conf.broker_url = 'amqp://a//;amqp://b//'", "broker_url", "2 brokers", "stalls"),
        ("app.conf.broker_url = ['amqp://a//', 'amqp://b//']", "broker_url", "2 brokers", "stalls"),
        (
            "app.conf.update(task_acks_late=True, task_time_limit=3600)",
            "task_time_limit",
            "3600 s",
            "stalls",
        ),
        (
            "app.conf.beat_schedule = {'tick': {'task': 'shop.resise', 'schedule': 60}}",
            "beat_schedule['tick']",
            "shop.resise",
            "lost",
        ),
    ],
)
def test_rules_beside_the_table(write: Write, lines: str, setting: str, value: str, risk: str) -> None:
    finding = found(write(f"{PLAIN}\n{lines}\n"))[setting]
    assert (finding.value, finding.risk) == (value, risk)


def test_a_periodic_task_that_exists_is_no_finding(write: Write) -> None:
    lines = """
@app.on_after_configure.connect
def periodic(sender, **_):
    sender.add_periodic_task(60, resize.s(1), name="tick")
"""
    application_ = read(write(PLAIN + lines))
    assert [(entry["name"], entry["task"]) for entry in application_["beat"]] == [("tick", "shop.resize")]
    assert not [one for one in findings(application_) if one.setting.startswith("beat_schedule")]


def test_a_celery_without_the_settings_is_named(write: Write) -> None:
    application_ = read(write(DURABLE))
    application_["celery"] = "5.3.0"
    for setting in application_["settings"]:
        if "queue_type" in setting["name"]:
            setting.update(known=False, suffices=False, loses=False)
    expected = ("celery", "5.3.0", "celery>=5.6.3  # in the requirements")
    assert [(one.setting, one.value, one.add) for one in findings(application_)] == [expected]
    application_["queues"][0]["type"] = "classic"
    queue, celery = findings(application_)
    assert (queue.setting, queue.risk, queue.where) == ("task_default_queue_type", "lost", ["celery"])
    assert queue.add.startswith("Queue(")
    assert celery.setting == "celery"


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"shop/celery.py": PLAIN, "shop/__init__.py": "from .celery import app"}, "shop.celery:app"),
        ({"src/shop/jobs.py": PLAIN, "src/shop/__init__.py": ""}, "shop.jobs:app"),
        ({"shop.py": PLAIN, ".venv/lib/other.py": PLAIN, "tests/test_shop.py": PLAIN}, "shop:app"),
        (
            {
                "factory.py": "import celery\ndef create():\n    return celery.Celery('shop')\n",
                "worker.py": "from factory import create  # celery -A worker\nqueue = create()\n",
            },
            "worker:queue",
        ),
    ],
    ids=["package", "src", "left out", "factory"],
)
def test_the_instance_is_found(write: Write, files: dict[str, str], name: str) -> None:
    assert read(write(**files))["name"] == name


def test_one_instance_of_two_is_chosen(write: Write) -> None:
    folder = write(
        **{"one.py": PLAIN, "two.py": PLAIN.replace("app", "other").replace("current_other", "current_app")}
    )
    assert "has 2 Celery instances, one:app, two:other: choose one with --app." in refused(folder)
    assert read(folder, "two:other")["name"] == "two:other"
    assert read(folder, "one")["tasks"][0]["name"] == "one.resize"


@pytest.mark.parametrize(
    ("code", "app", "sentence"),
    [
        ("x = 1\n", "", "No Celery instance was found in"),
        (PLAIN + "number = 3\n", "shop:number", "shop:number is not a Celery instance: name it with --app"),
        (PLAIN, "nowhere:app", "cannot be imported, ModuleNotFoundError: No module named 'nowhere'"),
        (
            PLAIN + "import not_there\n",
            "",
            "ModuleNotFoundError: No module named 'not_there' (shop.py, line 10)",
        ),
        (PLAIN + "import os\nos.environ['DB_URL']\n", "", "KeyError: 'DB_URL' (shop.py, line 11)"),
        (PLAIN + "raise ValueError('two\\n  lines')\n", "", "ValueError: two lines (shop.py, line 10)"),
        (PLAIN + "def broken(:\n", "", "SyntaxError: invalid syntax (shop.py, line 10)"),
        (PLAIN + "raise SystemExit('no licence')\n", "", "SystemExit: no licence (shop.py, line 10)"),
        (
            PLAIN + "import os\nprint('so')\nos._exit(3)\n",
            "",
            "ended with status 3, no message: correct the error",
        ),
        (PLAIN + "app.conf.include = ['gone']\n", "", "No module named 'gone'"),
        (PLAIN.replace("amqp://", "redis://"), "", "The broker of shop:app is redis, and the audit"),
        (PLAIN + "app.conf.broker_url = 'sqs://'\n", "", "The broker of shop:app is sqs, and the audit"),
    ],
)
def test_what_cannot_be_audited_is_one_sentence(write: Write, code: str, app: str, sentence: str) -> None:
    assert sentence in refused(write(code), app)


def test_the_broker_of_the_environment_comes_first(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(PLAIN.replace("amqp://", "redis://"))
    assert "set CELERY_BROKER_URL=amqp://localhost//" in refused(folder)
    monkeypatch.setenv("CELERY_BROKER_URL", "amqp://localhost//")
    assert read(folder)["configuration"]["broker_url"] == ["amqp://localhost//"]


def alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize(
    "end", ["time.sleep(600)", "threading.Thread(target=time.sleep, args=(600,)).start()"]
)
def test_an_import_that_starts_things_ends_with_them(write: Write, tmp_path: Path, end: str) -> None:
    pids = tmp_path / "pids"
    code = f"""{PLAIN}
import os, subprocess, threading, time
child = subprocess.Popen(["sleep", "600"])
open({str(pids)!r}, "w").write(f"{{os.getpid()}} {{child.pid}}")
print("noise on stdout", flush=True)
{end}
"""
    started = time.monotonic()
    if end.startswith("time"):
        assert "was not imported within 2 s" in refused(write(code), limit=2)
    else:
        assert read(write(code))["name"] == "shop:app"
    assert time.monotonic() - started < 15
    started_there = [int(pid) for pid in pids.read_text().split()]
    while any(map(alive, started_there)) and time.monotonic() - started < 20:
        time.sleep(0.1)
    assert not any(map(alive, started_there))


def test_the_import_leaves_no_file(write: Write) -> None:
    folder = write(PLAIN)
    read(folder)
    assert [file.name for file in folder.iterdir()] == ["shop.py"]


def test_drills_exist_and_the_figures_are_measured(write: Write) -> None:
    long = "app.conf.update(task_acks_late=True, task_time_limit=3600)"
    shown = found(write(f"{PLAIN}\n{long}\n"))
    for finding in (*shown.values(), *found(write(PLAIN)).values()):
        assert [catalogue.find(name).name for name in finding.drills] == list(finding.drills)
    measured = (ROOT / "docs" / "measurements" / "2026-11-reliability.md").read_text(encoding="utf-8")
    assert "49.5 s" in shown["task_time_limit"].what
    assert "49.5 / 50.7" in measured


def run(*arguments: object) -> Any:
    return CliRunner().invoke(cli, ["audit", *map(str, arguments)], standalone_mode=False)


def test_the_command_shows_findings_and_lines(write: Write) -> None:
    queues = "from kombu import Queue\napp.conf.task_queues = [Queue(f'q {n}') for n in range(500)]\n"
    result = run(write(PLAIN + queues), "--python", PYTHON)
    assert result.return_value == 1
    assert "shop:app: 1 tasks, 500 queues, 0 periodic tasks, 17 findings" in result.output
    assert "(q 0, q 1, q 2 and 497 more)" in " ".join(result.output.split())
    assert "not shown" in result.output
    assert "    app.conf.task_acks_late = True\n" in result.output


def test_the_command_without_findings(write: Write) -> None:
    result = run(write(DURABLE), "--python", PYTHON)
    assert result.return_value == 0
    assert "0 findings" in result.output


def test_the_command_prints_json(write: Write) -> None:
    result = run(write(PLAIN), "--python", PYTHON, "--json")
    document = json.loads(result.stdout)
    assert result.return_value == 1
    assert document["application"]["configuration"]["task_acks_late"] is False
    assert document["findings"][0]["setting"] == "task_acks_late"
    assert {finding["shown"] for finding in document["findings"]} == {True, False}


@pytest.mark.parametrize("arguments", [("nowhere",), (".", "--python", "nowhere/bin/python")])
def test_what_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert isinstance(result.exception, UsageError)
    assert result.exception.exit_code == 2


def wheel(folder: Path, name: str, code: str = "", build: str = "") -> None:
    """A wheel that pip installs without a network."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}.py", code)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


def test_the_requirements_are_installed_once(write: Write, tmp_path: Path) -> None:
    wheel(tmp_path / "wheels", "needed")
    # An application needs Celery; this one gets it from here.
    wheel(tmp_path / "wheels", "celery_of_the_tests")
    text = f"--no-index\n--find-links {tmp_path}/wheels\nneeded\n"
    folder = write(**{"requirements.txt": text})
    first = environment.interpreter(folder, tmp_path / "cache", Screen())
    built = (first.parents[1] / "complete").stat()
    assert list(first.parents[1].glob("lib/python3*/site-packages/needed.py"))
    assert environment.interpreter(folder, tmp_path / "cache", Screen()) == first
    assert (first.parents[1] / "complete").stat().st_mtime_ns == built.st_mtime_ns
    (first.parents[1] / "complete").unlink()  # an interrupted run
    assert environment.interpreter(folder, tmp_path / "cache", Screen()) == first
    write(**{"requirements.txt": f"{text}celery_of_the_tests\n"})
    assert environment.interpreter(folder, tmp_path / "cache", Screen()) != first


def test_requirements_that_cannot_be_installed(write: Write, tmp_path: Path) -> None:
    folder = write(**{"requirements.txt": "--no-index\nnot-there\n"})
    with pytest.raises(UsageError, match="cannot be installed") as error:
        environment.interpreter(folder, tmp_path / "cache", Screen())
    assert "ERROR: No matching distribution found for not-there" in str(error.value)
    assert not list(tmp_path.glob("cache/*/complete"))


@pytest.mark.parametrize(
    ("project", "arguments"),
    [
        ('[project]\nname = "shop"\ndependencies = ["celery", "flask"]\n', ["celery", "flask"]),
        ('[project]\nname = "shop"\ndynamic = ["dependencies"]\n', ["{folder}"]),
        ('[tool.poetry]\nname = "shop"\n', ["{folder}"]),
    ],
)
def test_dependencies_of_a_project(write: Write, project: str, arguments: list[str]) -> None:
    folder = write(**{"pyproject.toml": project})
    assert environment.requirements(folder) == [word.format(folder=folder) for word in arguments]


def test_a_folder_without_requirements(write: Write, tmp_path: Path) -> None:
    for files, sentence in (
        ({"shop.py": PLAIN}, "has no requirements.txt and no pyproject.toml"),
        ({"pyproject.toml": "[project"}, "is not valid TOML"),
    ):
        with pytest.raises(UsageError, match=sentence):
            environment.requirements(write(**files))


def test_a_row_of_the_table_has_no_markup_of_the_application() -> None:
    row = audit._row(Finding("x", "[red]", "lost", "what", "add", where=["[bold]"]))
    assert row["setting"] == r"x = \[red]"
