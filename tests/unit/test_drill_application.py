"""Drills of an own application: its publisher, its witness, and the ledger that they make."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from labctl.drills.application import Call, _package, _refusal
from labctl.drills.application_load import attempts_of, effects_of
from labctl.drills.ledger import add_up, parse_ledger
from labctl.paths import ROOT

FILES = ROOT / "playbooks" / "drills" / "files"
SHOP = """
import sys
from celery import Celery, Task

print("an application may print")

class Strict(Task):
    def __call__(self, *args, **options):
        raise RuntimeError("needs its real body")

app = Celery("shop", broker="memory://", task_cls="shop:Strict" if "dry" in sys.argv else None)
app.conf.task_routes = {"shop.resize": {"queue": "pictures"}}

@app.task(name="shop.resize")
def resize(image):
    return image

@app.task(name="shop.fail", bind=True)
def fail(self):
    raise ValueError
"""
WORK = """
import sys
from celery import signals
import shop
shop.app.set_default()
import lab_drill
signals.celeryd_after_setup.send(sender=None)
for name, id in (("shop.resize", "run-1"), ("shop.resize", "other-1"), ("shop.fail", "run-2")):
    result = shop.app.tasks[name].apply(args=["x"] if name == "shop.resize" else [], task_id=id)
    print(id, result.state)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the application."""
    (tmp_path / "shop.py").write_text(SHOP, encoding="utf-8")
    return tmp_path


def python(folder: Path, *arguments: str, stdin: str = "", **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{folder}:{FILES}", **environment},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith('{"event"')]


@pytest.mark.parametrize(
    ("task", "args", "expected"),
    [
        ("shop.resize", ["x"], {"event": "ready", "queue": "pictures"}),
        ("shop.fail", [], {"event": "ready", "queue": "celery"}),
        (
            "shop.resise",
            ["x"],
            {"event": "refused", "why": "unknown task", "tasks": ["shop.fail", "shop.resize"]},
        ),
    ],
)
def test_a_task_goes_where_the_application_sends_it(
    folder: Path, task: str, args: list[str], expected: dict[str, Any]
) -> None:
    plan = json.dumps({"app": "shop:app", "task": task, "args": args, "kwargs": {}})
    (event,) = events(python(folder, str(FILES / "lab_drill_load.py"), stdin=plan + "\n"))
    assert {key: value for key, value in event.items() if key != "at"} == expected


def test_wrong_arguments_are_refused(folder: Path) -> None:
    plan = json.dumps({"app": "shop:app", "task": "shop.resize", "args": [], "kwargs": {"size": 1}})
    (event,) = events(python(folder, str(FILES / "lab_drill_load.py"), stdin=plan + "\n"))
    call = Call("shop", "shop.resize")
    assert "shop.resize does not take these arguments" in _refusal(call, event)
    assert "'image'" in event["error"] or "size" in event["error"]


def test_near_tasks_are_named() -> None:
    event = {"why": "unknown task", "tasks": ["shop.mail.send", "shop.pictures.resize", "x.y"]}
    assert "it has shop.pictures.resize and others" in _refusal(Call("shop", "shop.resize"), event)
    assert "it has shop.mail.send, shop.pictures.resize" in _refusal(Call("shop", "nothing"), event)


def test_each_message_is_in_the_file_before_and_after_it_is_sent(folder: Path) -> None:
    plan = {"app": "shop:app", "task": "shop.resize", "args": ["x"], "kwargs": {}, "run": "run", "rate": 100}
    lines = json.dumps({**plan, "limit": 60, "folder": str(folder)}) + "\n"
    process = subprocess.Popen(
        [sys.executable, str(FILES / "lab_drill_load.py")],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    process.stdin.write(lines + '{"hold": true}\n')
    process.stdin.flush()
    for line in process.stdout:
        if '"published"' in line:
            break
    process.stdin.close()
    assert process.wait(20) == 0
    entries = [json.loads(line) for line in (folder / "run.jsonl").read_text().splitlines()]
    document = {"published": entries, "attempts": [], "effects": {}}
    published = parse_ledger(document).published
    assert [entry.kind for entry in published.values()].count("held") == 1
    assert sum(entry.confirmed is not None for entry in published.values()) >= len(published) - 1 > 0


@pytest.mark.parametrize(("dry", "state"), [("", "FAILURE"), ("0.01", "SUCCESS")])
def test_the_witness_records_tasks_of_the_drill_only(folder: Path, dry: str, state: str) -> None:
    (folder / "work.py").write_text(WORK, encoding="utf-8")
    environment = {"LAB_DRILL_RUN": "run", "LAB_DRILL_FOLDER": str(folder), "LAB_DRILL_DRY": dry}
    said = python(folder, "work.py", *(["dry"] if dry else []), **environment)
    assert "other-1 SUCCESS" in said
    found = [json.loads(line) for line in (folder / "witness.jsonl").read_text().splitlines()]
    seen = [(event["id"], event["event"], event.get("state")) for event in found]
    assert seen[:2] == [("run-1", "start", None), ("run-1", "end", "SUCCESS")]
    assert seen[2:] == [("run-2", "start", None), ("run-2", "end", state)]


def witnessed(task_id: str, event: str, at: float, pid: int = 1, state: str = "SUCCESS") -> dict[str, Any]:
    end = {"state": state} if event == "end" else {}
    return {"id": task_id, "event": event, "at": at, "pid": pid, **end}


def test_the_ledger_of_witnesses() -> None:
    """Unit 1 is lost with its process, unit 2 runs twice, unit 3 is retried, unit 4 was never published."""
    seen = {
        "worker-1": [
            witnessed("run-1-held", "start", 1.0),
            witnessed("run-2", "start", 1.1, 2),
            witnessed("run-2", "end", 1.2, 2),
            witnessed("run-3", "start", 1.3, 2),
            witnessed("run-3", "end", 1.4, 2, "RETRY"),
        ],
        "worker-2": [
            witnessed("run-2", "start", 2.0),
            witnessed("run-2", "end", 2.1),
            witnessed("run-3", "start", 2.2),
            witnessed("run-3", "end", 2.3, state="FAILURE"),
        ],
    }
    attempts = attempts_of(seen, "run")
    published = [
        {"at": 0.1 * unit, "unit": unit, "kind": "work", "publisher": "application", "state": state}
        for unit in (1, 2, 3)
        for state in ("attempted", "confirmed")
    ]
    rows = [vars(attempt) for attempt in attempts]
    ledger = parse_ledger({"published": published, "attempts": rows, "effects": effects_of(attempts)})
    totals = add_up(ledger)
    assert (totals.executed, totals.lost, totals.twice, totals.repeated) == (2, [1], [2], 2)
    assert len(attempts_of(seen, "run", held=False)) == len(attempts) - 1


def test_the_package_has_all_modules(tmp_path: Path) -> None:
    package = str(_package(tmp_path / "drill.zip"))
    line = "import celery_durable, lab_drill_load, probe; print(celery_durable.__file__)"
    said = python(tmp_path, "-c", line, PYTHONPATH=package)
    assert said.startswith(package)
    first = Path(package).read_bytes()
    assert _package(tmp_path / "drill.zip").read_bytes() == first
