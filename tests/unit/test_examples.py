"""The applications of examples/, without a lab: what they declare, and what their READMEs say about it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from celery import Celery

from labctl.audit import application, probe
from labctl.paths import ROOT

EXAMPLES = sorted(path.parent for path in ROOT.glob("examples/*/README.md"))
ON_THE_LAB = yaml.safe_load((ROOT / "tests" / "lab" / "applications.yml").read_text(encoding="utf-8"))
each = pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)


def declaration(example: Path) -> dict[str, Any]:
    """The declaration in the README."""
    text = (example / "README.md").read_text(encoding="utf-8")
    ((found,),) = map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", text, re.DOTALL))
    assert isinstance(found, dict)
    return found


def read(example: Path) -> dict[str, Any]:
    return application.read(example, Path(sys.executable), "", 60)


def run(example: Path, *arguments: str, **environment: str) -> str:
    """Run Python in the folder of an example; returns its stdout."""
    done = subprocess.run(
        [sys.executable, "-B", *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=example,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_there_are_three() -> None:
    assert [path.name for path in EXAMPLES] == ["django", "first-steps", "flask"]


@each
def test_its_declaration_is_what_the_application_has(example: Path) -> None:
    declared, found = declaration(example), read(example)
    assert declared["source"] == example.relative_to(ROOT).as_posix()
    assert declared["name"] == example.name.replace("-", "_")
    assert declared["app"] == found["name"]
    queues = [queue for worker in declared["workers"] for queue in worker["queues"]]
    assert queues == [queue["name"] for queue in found["queues"]]
    assert declared.get("beat", False) == bool(found["beat"])


@each
def test_the_lab_of_the_tests_has_it_as_declared(example: Path) -> None:
    declared = declaration(example)
    (deployed,) = [given for given in ON_THE_LAB if given["name"] == declared["name"]]
    for given in (declared, deployed):  # the lab of the tests has less memory for each
        given.pop("memory_mb", None)
        for worker in given["workers"]:
            worker.pop("concurrency")
    assert deployed == declared


@each
def test_its_requirements_are_pinned(example: Path) -> None:
    lines = (example / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9\[\]]+==[0-9.]+", line)] == []


def test_first_steps_changes_no_setting() -> None:
    found = read(ROOT / "examples" / "first-steps")["configuration"]
    default = probe.configuration(Celery("other").conf)
    changed = {name for name, value in found.items() if value != default[name] and "_url" not in name}
    assert changed == {"result_backend"}


def test_the_page_of_flask_shows_a_state_until_there_is_a_result() -> None:
    code = """
from web import app, celery
from jobs import count, report
page = app.test_client()
assert "textarea" in page.get("/").text
shown = page.get(page.post("/", data={"text": "a"}).location).text
assert "PENDING" in shown and "refresh" in shown, shown
celery.backend.store_result("00000000-0000-0000-0000-000000000000", count("b a b"), "SUCCESS")
shown = page.get("/results/00000000-0000-0000-0000-000000000000").text
assert "SUCCESS" in shown and "refresh" not in shown, shown
assert page.get("/results/no-id").status_code == 404
route = celery.amqp.router.route({}, "jobs.report")
assert (route["queue"].name, route["routing_key"]) == ("texts_long", "texts.long.report"), route
"""
    memory = {"CELERY_BROKER_URL": "memory://", "CELERY_RESULT_BACKEND": "cache+memory://"}
    run(ROOT / "examples" / "flask", "-c", code, **memory)


DJANGO = ROOT / "examples" / "django"


def test_the_migrations_of_django_are_complete() -> None:
    run(DJANGO, "manage.py", "makemigrations", "--check", "--dry-run")


def test_django_reads_its_database_from_the_environment() -> None:
    url = "postgresql://me:a%2Fb@db:6000/mine?sslmode=verify-full&sslrootcert=/ca.pem"
    code = "from visits.settings import DATABASES; print(DATABASES['default'])"
    found = yaml.safe_load(run(DJANGO, "-c", code, DATABASE_URL=url))
    assert found == {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": "db",
        "PORT": 6000,
        "NAME": "mine",
        "USER": "me",
        "PASSWORD": "a/b",
        "OPTIONS": {"sslmode": "verify-full", "sslrootcert": "/ca.pem"},
    }


@pytest.mark.parametrize(("day", "utc"), [("2026-01-15", "02:30"), ("2026-07-15", "01:30")])
def test_beat_of_django_follows_the_clocks_of_its_time_zone(day: str, utc: str) -> None:
    code = f"""
from datetime import datetime, timedelta, timezone
from visits.celery import app
due = app.conf.beat_schedule["forget"]["schedule"]
due.app, start = app, datetime.fromisoformat("{day}T00:00:00+00:00")
due.nowfun = lambda: start
print((start + due.remaining_estimate(start)).astimezone(timezone.utc).strftime("%H:%M"))
"""
    assert run(DJANGO, "-c", code).strip() == utc
