"""celery_durable.wrap: an application that does not use this library, made durable with a variable."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import programs
import pytest

SHOP = """
from celery import Celery

app = other = Celery("shop", broker="amqp://u:p@127.0.0.1:1//")
app.conf.task_routes = {"shop.*": {"queue": "orders"}}
number = 3


@app.task
def resize(image_id): ...
"""
REPORT = """
from celery_durable.wrap import app
queues = app.amqp.queues
queues.select(["orders"])
print(app.conf.task_acks_late, app.conf.broker_transport_options["confirm_publish"])
print(app.amqp.queues["celery"].queue_arguments, app.amqp.queues["celery"].exchange.type)
print(app.amqp.router.route({}, "shop.resize")["queue"].queue_arguments)
print("shop.resize" in app.tasks, app.tasks["shop.resize"].acks_late)
"""

LEFT_OUT = """
from celery_durable.wrap import app
print(app.conf.task_acks_late, app.conf.broker_transport_options, app.conf.task_reject_on_worker_lost)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the application in shop.py."""
    (tmp_path / "shop.py").write_text(SHOP, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ended(name: str | None, *command: str) -> tuple[int, str]:
    """Return the exit status and output of Celery's command line with this value of the variable."""
    environment = {**os.environ, "PYTHONPATH": str(programs.SOURCE)}
    environment.pop("CELERY_DURABLE_APP", None)
    if name is not None:
        environment["CELERY_DURABLE_APP"] = name
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "celery_durable.wrap", *(command or ("report",))],
        check=False,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("name", ["shop:app", "shop:other", "shop", "shop.app"])
def test_an_application_is_durable_without_a_change(folder: Path, name: str) -> None:
    assert programs.output(REPORT, CELERY_DURABLE_APP=name).splitlines() == [
        "True True",
        "{'x-queue-type': 'quorum'} topic",
        "{'x-queue-type': 'quorum'}",
        "True True",
    ]


def test_celerys_command_line_accepts_it(folder: Path) -> None:
    status, text = ended("shop:app")
    assert status == 0
    assert "'shop.*': {'queue': 'orders'}" in text


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (None, "is not set"),
        ("", "is not set"),
        ("shop:", "is 'shop:'"),
        ("no such name", "is 'no such name'"),
        ("nowhere:app", "names nowhere:app, where there is no Celery application (No module named "),
        (
            "shop.nowhere:app",
            "names shop.nowhere:app, where there is no Celery application (No module named ",
        ),
        ("shop:nothing", "names shop:nothing, where there is no Celery application"),
        ("empty", "names empty, where there is no Celery application"),
        ("shop:number", "names shop:number, which is not a Celery application"),
    ],
)
def test_a_wrong_variable_is_one_sentence(folder: Path, name: str | None, reason: str) -> None:
    (folder / "empty.py").touch()
    status, text = ended(name)
    assert (status, text.count("\n")) == (1, 1)
    assert text.startswith(f"CELERY_DURABLE_APP {reason}")
    assert text.endswith("; set it as for celery -A, for example CELERY_DURABLE_APP=shop.celery:app.\n")


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import not_installed", "No module named 'not_installed'"),
        ("import os; os.no_such_name", "has no attribute 'no_such_name'"),
        ("(1).name", "'int' object has no attribute 'name'"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_an_error_of_the_application_is_raised(folder: Path, code: str, error: str) -> None:
    (folder / "shop.py").write_text(f"{SHOP}\n{code}\n", encoding="utf-8")
    status, text = ended("shop:app")
    assert status != 0
    assert error in text
    assert "set it as for celery -A" not in text


def test_a_setting_can_be_left_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_DURABLE_WITHOUT", "task_acks_late,broker_transport_options")
    (folder / "report.py").write_text(LEFT_OUT, encoding="utf-8")
    monkeypatch.setenv("CELERY_DURABLE_APP", "shop")
    monkeypatch.setenv("PYTHONPATH", str(programs.SOURCE))
    done = subprocess.run(
        [sys.executable, "report.py"], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["False", "{}", "True"]


def test_a_setting_that_is_not_there_cannot_be_left_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert folder.is_dir()
    monkeypatch.setenv("CELERY_DURABLE_WITHOUT", "task_acks_early")
    status, text = ended("shop")
    assert status == 1
    assert "CELERY_DURABLE_WITHOUT names task_acks_early" in text
