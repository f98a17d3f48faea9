"""The applications of examples/ on the lab: they run, and none can reach what belongs to another."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import yaml

from tests.lab.commands import ROOT, UserLab, wait_for

DECLARED = yaml.safe_load((ROOT / "tests" / "lab" / "applications.yml").read_text(encoding="utf-8"))
NAMES = [application["name"] for application in DECLARED]
HOSTS = ("worker-1", "worker-2", "worker-3")
RUN = '/usr/local/lib/warren/run-release "$0" "$(basename "$(readlink /opt/"$0"/current)")" "$1"'


def inside(lab: UserLab, host: str, name: str, source: str, *arguments: str) -> Any:
    """Run a program as an application's user, with its environment and code; returns its stdout's JSON."""
    command = shlex.join(["python", "-c", source, *arguments])
    done = lab.run("shell", host, "sh", "-c", RUN, name, command, seconds=180)
    assert done.status == 0, str(done)
    return done.json()


def shell(lab: UserLab, host: str, script: str, *arguments: str) -> str:
    """Run a script as root on a host; returns its stdout."""
    done = lab.run("shell", host, "sh", "-euc", script, "sh", *arguments)
    assert done.status == 0, str(done)
    return done.out


FIRST_STEPS = """
import json
from tasks import add, app, wait
waits = [wait.delay(0.2) for _ in range(24)]
added = add.delay(2, 3)
print(json.dumps({
    "sum": added.get(timeout=90),
    "waited": [one.get(timeout=90) for one in waits],
    "backend": type(app.backend).__name__,
}))
"""
FLASK = """
import json, time
from jobs import count, report
from web import app as web
client = web.test_client()
def page(**form):
    answer = client.post("/", data=form)
    for _ in range(180):
        text = client.get(answer.location).text
        if "refresh" not in text:
            return text
        time.sleep(0.5)
counts, reports = [count.delay("a") for _ in range(30)], [report.delay("a") for _ in range(30)]
pages = [page(text="to be or not to be"), page(text="to be or not to be", slow="1")]
[one.get(timeout=90) for one in counts + reports]
print(json.dumps(pages))
"""
DJANGO = """
import json, time
import django, visits
django.setup()
from django.core.management import call_command
from django.db import connection
from visits.models import Visit
from visits.tasks import forget, visit
call_command("migrate", check_unapplied=True, verbosity=0)
sent = [visit.delay("me") for _ in range(24)]
rows = [one.get(timeout=90) for one in sent]
for _ in range(75):  # beat publishes each minute
    if Visit.objects.filter(name="beat").exists():
        break
    time.sleep(1)
with connection.cursor() as cursor:
    cursor.execute("SELECT task_id FROM celery_taskmeta WHERE status = 'SUCCESS'")
    stored = {key for (key,) in cursor}
print(json.dumps({
    "hosts": sorted(set(Visit.objects.filter(pk__in=rows, name="me").values_list("host", flat=True))),
    "rows": len(set(rows)),
    "stored": len(stored & {one.id for one in sent}),
    "beat": Visit.objects.filter(name="beat").count(),
    "forgotten": forget.delay(0).get(timeout=90),
    "left": Visit.objects.filter(pk__in=rows).count(),
}))
"""
PROGRAMS = {"first_steps": FIRST_STEPS, "flask": FLASK, "django": DJANGO}


@pytest.fixture(scope="module")
def ran(lab: UserLab) -> dict[str, Any]:
    """What each example's program reported; all run at the same time."""
    file = lab.state / "applications.yml"
    assert file.exists(), f"Copy tests/lab/applications.yml to {file} and run ./lab up, or run ./lab test."
    with ThreadPoolExecutor() as pool:
        answers = {
            name: pool.submit(inside, lab, host, name, PROGRAMS[name])
            for name, host in zip(NAMES, HOSTS, strict=True)
        }
        return {name: answer.result() for name, answer in answers.items()}


def test_first_steps_reads_its_results_from_the_database(ran: dict[str, Any]) -> None:
    found = ran["first_steps"]
    assert (found["backend"], found["sum"], found["waited"]) == ("DatabaseBackend", 5, [0.2] * 24)


def test_the_flask_page_shows_the_results(ran: dict[str, Any]) -> None:
    short, long = ran["flask"]
    assert "SUCCESS" in short
    assert "{&#39;to&#39;: 2, &#39;be&#39;: 2, &#39;or&#39;: 1" in short
    assert "6 words, 4 of them different" in long


def test_django_writes_and_deletes_rows_on_several_hosts(ran: dict[str, Any]) -> None:
    found = ran["django"]
    assert (found["rows"], found["stored"], found["left"]) == (24, 24, 0)
    assert found["forgotten"] >= 24
    assert len(found["hosts"]) >= 2
    assert found["beat"] >= 1


@pytest.mark.parametrize(
    ("unit", "pool"),
    [
        ("first_steps-worker@default", "prefork"),
        ("flask-worker@short", "thread"),
        ("flask-worker@long", "gevent"),
        ("django-worker@default", "prefork"),
    ],
)
def test_each_worker_host_executed_tasks(lab: UserLab, ran: dict[str, Any], unit: str, pool: str) -> None:
    done = lab.run("logs", unit, "--lines", "5000")
    assert f"({pool})" in done.out, str(done)
    assert set(re.findall(r"^\S+ (\S+) .* succeeded in ", done.out, re.MULTILINE)) == set(HOSTS)


REACH = """
import amqp, json, os, psycopg, pwd, sys
from pathlib import Path
from urllib.parse import urlsplit, unquote
own, names = sys.argv[1], sys.argv[2:]
broker = urlsplit(os.environ["CELERY_BROKER_URL"])
database = os.environ["CELERY_RESULT_BACKEND"].replace("db+postgresql+psycopg", "postgresql")
secret = urlsplit(database).password

def attempt(action, *arguments, **options):
    try:
        action(*arguments, **options)
    except amqp.exceptions.AMQPError as error:
        return error.code
    except (OSError, psycopg.Error) as error:
        return str(error) if isinstance(error, psycopg.Error) else type(error).__name__
    return "reached"

def vhost(user, name):
    server = f"{broker.hostname}:{broker.port}"
    with amqp.Connection(server, user, unquote(broker.password), virtual_host=name, connect_timeout=20):
        pass

def query(user, name):
    server = database.replace(f"//{own}:", f"//{user}:").replace(f"/{own}?", f"/{name}?")
    psycopg.connect(server, connect_timeout=20).close()

def processes(name):
    found = [path for path in Path("/proc").glob("[0-9]*") if path.exists() and path.owner() == name]
    return sorted({attempt((path / "environ").read_bytes) for path in found})

print(json.dumps({name: {
    "vhost": attempt(vhost, own, name),
    "broker user": attempt(vhost, name, name),
    "database": attempt(query, own, name),
    "role": attempt(query, name, name),
    "secrets": attempt(Path(f"/etc/{name}/{'mosaic.toml' if name == 'mosaic' else name + '.env'}").read_text),
    "code": attempt(os.listdir, f"/opt/{name}/releases"),
    "data": attempt(os.listdir, f"/var/lib/{name}"),
    "processes": processes(name),
} for name in names}))
"""


@pytest.fixture(scope="module")
def reached(lab: UserLab) -> dict[str, dict[str, Any]]:
    """What the user of each example reached of each application: by the example, then the other."""
    with ThreadPoolExecutor() as pool:
        answers = {
            name: pool.submit(inside, lab, host, name, REACH, name, *NAMES, "mosaic")
            for name, host in zip(NAMES, HOSTS, strict=True)
        }
        return {name: answer.result() for name, answer in answers.items()}


@pytest.mark.parametrize("name", NAMES)
def test_an_application_reaches_what_is_its_own(reached: dict[str, Any], name: str) -> None:
    found = reached[name][name]
    assert {key: value for key, value in found.items() if value not in ("reached", ["reached"])} == {}


@pytest.mark.parametrize("other", [*NAMES, "mosaic"])
@pytest.mark.parametrize("name", NAMES)
def test_an_application_reaches_nothing_of_another(reached: dict[str, Any], name: str, other: str) -> None:
    if name == other:
        return
    found = reached[name][other]
    # 530: the vhost is refused to this user. 403: the password is wrong.
    assert (found["vhost"], found["broker user"]) == (530, 403)
    assert "no pg_hba.conf entry" in found["database"] or "permission denied" in found["database"]
    assert "password authentication failed" in found["role"]
    assert (found["secrets"], found["processes"]) == ("PermissionError", ["PermissionError"])
    if other != "mosaic":
        assert (found["code"], found["data"]) == ("PermissionError", "PermissionError")


# Another jobs.py for more workers with the units of the application flask: Python finds it first.
JOBS = """
import os, time
from celery import Celery
app = Celery("jobs")

@app.task(name="process")
def process(seconds=0):
    time.sleep(seconds)
    return os.getpid()

@app.task(name="fork")
def fork():
    child = os.fork()
    if not child:
        time.sleep(3600)
    return child

@app.task(name="allocate")
def allocate(megabytes):
    return len(b"x" * (megabytes << 20))
"""
# Worker instance: its host and its options. Each has a queue of the same name.
MORE = {
    "solo": ("worker-1", "--pool solo"),
    "recycled": ("worker-1", "--max-tasks-per-child 1"),
    "scaled": ("worker-2", "--autoscale 2,1"),
    "rough": ("worker-3", ""),
}
START = """
printf '%s' "$3" > /var/lib/flask/jobs.py
cat > "/etc/flask/worker-$1.env" <<END
WORKER_QUEUES=$1
WORKER_CONCURRENCY=1
WORKER_OPTIONS=$2
PYTHONPATH=/var/lib/flask
END
systemctl start "flask-worker@$1"
"""
STOP = 'systemctl stop "flask-worker@$1"; rm -f "/etc/flask/worker-$1.env" /var/lib/flask/jobs.py'
SEND = """
import json, sys
from jobs import app
sent = [app.send_task(name, arguments, queue=queue) for queue, name, arguments in json.loads(sys.argv[1])]
print(json.dumps([one.get(timeout=90, propagate=False) for one in sent], default=repr))
"""


@pytest.fixture(scope="module")
def more(lab: UserLab, ran: dict[str, Any]) -> Iterator[None]:
    """Workers of MORE, which consume."""
    with ThreadPoolExecutor() as pool:
        try:
            list(pool.map(lambda name: shell(lab, MORE[name][0], START, name, MORE[name][1], JOBS), MORE))
            yield
        finally:
            list(pool.map(lambda name: shell(lab, MORE[name][0], STOP, name), MORE))


def send(lab: UserLab, *tasks: str) -> list[Any]:
    """Publish tasks as the application flask, given as JSON [queue, name, arguments]; returns results."""
    results: list[Any] = inside(lab, "worker-1", "flask", SEND, f"[{', '.join(tasks)}]")
    return results


def test_a_worker_of_each_pool_and_limit_consumes(lab: UserLab, more: None) -> None:
    one, slow = ('["solo", "process", []]', '["scaled", "process", [3]]')
    found = send(lab, one, one, *['["recycled", "process", []]'] * 3, *[slow] * 3)
    solo, recycled, scaled = found[:2], found[2:5], found[5:]
    assert set(solo) == {int(main_pid(lab, "worker-1", "flask-worker@solo"))}
    assert len(set(recycled)) == 3, "a pool process executed two tasks"
    assert len(set(scaled)) >= 2, "one pool process executed all tasks"


def main_pid(lab: UserLab, host: str, unit: str) -> str:
    """Process number of a unit on a host."""
    return shell(lab, host, 'systemctl show --property MainPID --value "$1"', unit).strip()


def test_a_process_that_a_task_forks_ends_with_its_worker(lab: UserLab, more: None) -> None:
    (child,) = send(lab, '["rough", "fork", []]')
    assert "/flask.slice/" in shell(lab, "worker-3", 'cat "/proc/$1/cgroup"', str(child))
    shell(lab, "worker-3", 'systemctl restart flask-worker@rough; test ! -e "/proc/$1"', str(child))
    assert isinstance(send(lab, '["rough", "process", []]')[0], int)


OTHERS = """
systemctl show --property Id,MainPID 'first_steps-worker@*' 'django-worker@*' 'mosaic-worker@*'
"""


def test_the_memory_limit_of_an_application_is_for_it_alone(lab: UserLab, more: None) -> None:
    (megabytes,) = [given["memory_mb"] for given in DECLARED if given["name"] == "flask"]
    limit = shell(lab, "worker-3", "systemctl show --property MemoryMax --value flask.slice")
    assert int(limit) == megabytes << 20
    before = shell(lab, "worker-3", OTHERS)
    assert before.count("MainPID=") >= 5
    (ended,) = send(lab, f'["rough", "allocate", [{2 * megabytes}]]')
    assert "WorkerLostError" in ended
    assert isinstance(send(lab, '["rough", "process", []]')[0], int)
    assert shell(lab, "worker-3", OTHERS) == before


def test_a_worker_that_is_killed_comes_back(lab: UserLab) -> None:
    unit = "django-worker@default"
    before = main_pid(lab, "worker-2", unit)
    shell(lab, "worker-2", 'kill -9 "$1"', before)
    wait_for("another process", 60, lambda: main_pid(lab, "worker-2", unit) not in ("0", before), poll=1)
    active = ("shell", "worker-2", "systemctl", "is-active", unit)
    wait_for("it consumes", 60, lambda: lab.run(*active).status == 0, poll=1)
