"""lab_celery.py: a worker and beat of any application report to systemd that they have started."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.unit.rendering import ROLES

MODULE = ROLES / "celery_worker" / "files" / "lab_celery.py"
# The second application is what `current_app` is when the worker imports its modules.
SHOP = """
from celery import Celery
app = Celery("shop", broker="memory://")
other = Celery("other", broker="memory://")
app.conf.beat_schedule = {}
"""


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[socket.socket]:
    """The command `celery` with these arguments, and the socket on which systemd would listen."""
    (folder / "shop.py").write_text(SHOP)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CELERY_")}
    environment |= {"NOTIFY_SOCKET": str(folder / "notify"), "PYTHONDONTWRITEBYTECODE": "1"}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(environment["NOTIFY_SOCKET"])
        listener.settimeout(30)
        command = [sys.executable, str(MODULE), "-A", "shop:app", *arguments]
        with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE) as program:
            try:
                yield listener
            finally:
                program.kill()


@pytest.mark.parametrize("pool", ["solo", "threads"])
def test_a_worker_is_started_when_it_consumes(tmp_path: Path, pool: str) -> None:
    options = ["--pool", pool, "--queues", "b,a", "--include", "lab_celery", "--without-mingle"]
    with running(tmp_path, "worker", *options) as listener:
        assert listener.recv(1000) == b"READY=1\nSTATUS=consuming a b"


def test_a_worker_without_the_module_is_not_started(tmp_path: Path) -> None:
    with running(tmp_path, "worker", "--pool", "solo") as listener:
        listener.settimeout(4)
        with pytest.raises(TimeoutError):
            listener.recv(1000)


def test_beat_is_started_when_it_publishes(tmp_path: Path) -> None:
    with running(tmp_path, "beat", "--pidfile=") as listener:
        assert listener.recv(1000) == b"READY=1\nSTATUS=publishing periodic tasks"


SCHEDULE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from celery import Celery
from celery.beat import Service
from celery.schedules import crontab
app = Celery("shop", broker="memory://")
app.set_default()
import lab_celery
lab_celery.SCHEDULE_SECONDS = 0.1
app.conf.beat_schedule = {
    "often": {"task": "shop.tick", "schedule": 30.0},
    "nightly": {"task": "shop.clean", "schedule": crontab(hour=4, minute=0)},
}
service = Service(app, scheduler_cls="celery.beat:Scheduler")
lab_celery.report_beat(sender=service)
found = []
with app.connection() as connection:
    receiver = app.events.Receiver(connection, handlers={"beat-schedule": found.append})
    service.scheduler.tick()
    receiver.capture(limit=1, timeout=20)
print(json.dumps(found[0]))
"""


def test_beat_sends_its_schedule_as_an_event(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCHEDULE, str(MODULE.parent)],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    event = json.loads(done.stdout)
    assert event["hostname"].startswith("beat@")
    entries = {entry["name"]: entry for entry in event["entries"]}
    assert (entries["often"]["task"], entries["often"]["every"]) == ("shop.tick", 30.0)
    assert entries["nightly"]["every"].startswith("<crontab: 0 4")
    for entry in entries.values():
        assert (entry["last"], entry["runs"]) == (None, 0)
        assert entry["next"] > time.time() - 5


CLEANUP = """
import sys
sys.path.insert(0, sys.argv[1])
from celery import Celery
from celery.beat import Service
app = Celery("shop", broker="memory://", backend=sys.argv[2])
app.set_default()
app.conf.beat_schedule = {"often": {"task": "shop.tick", "schedule": 30.0}}
import lab_celery
service = Service(app, scheduler_cls=sys.argv[3])
lab_celery.report_beat(sender=service)
print(sorted(service.scheduler.schedule))
"""


@pytest.mark.parametrize(
    ("backend", "scheduler", "cleans"),
    [
        ("db+sqlite://", "celery.beat:Scheduler", True),
        ("db+sqlite://", "celery.beat:PersistentScheduler", True),
        ("rpc://", "celery.beat:Scheduler", False),
    ],
)
def test_beat_deletes_expired_results(tmp_path: Path, backend: str, scheduler: str, cleans: bool) -> None:
    command = [sys.executable, "-c", CLEANUP, str(MODULE.parent), backend, scheduler]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{[*(['celery.backend_cleanup'] if cleans else []), 'often']}\n"


CLOCK = """
import datetime, sys, time
sys.path.insert(0, sys.argv[1])
from celery import Celery
from celery.beat import Service
wall = [time.time()]
time.time = lambda: wall[0]
app = Celery("shop", broker="memory://")
app.set_default()
app.now = lambda: datetime.datetime.fromtimestamp(wall[0], datetime.timezone.utc)
app.conf.beat_schedule = {"often": {"task": "shop.tick", "schedule": 30.0}}
import lab_celery
sent = []
service = Service(app, scheduler_cls="celery.beat:Scheduler")
service.scheduler.apply_entry = lambda entry, producer: sent.append(entry.name)
lab_celery.report_beat(sender=service)
wall[0] += 31
service.scheduler.tick()
assert sent == ["often"], sent
wall[0] += float(sys.argv[2])
service.scheduler.tick()
wall[0] += 31
service.scheduler.tick()
print(len(sent))
"""


@pytest.mark.parametrize(("step", "runs"), [(0, 2), (-3600, 2), (3600, 3)])
def test_beat_continues_after_a_step_of_the_clock(tmp_path: Path, step: int, runs: int) -> None:
    command = [sys.executable, "-c", CLOCK, str(MODULE.parent), str(step)]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"{runs}\n"), done.stderr


def test_without_systemd_nothing_is_reported(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    done = subprocess.run(
        [sys.executable, str(MODULE), "--version"],
        cwd=tmp_path,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """An installed release that the link `current` names; its command `celery` prints where it runs."""
    folder = tmp_path / "releases" / "a"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    (packages,) = folder.glob("venv/lib/*/site-packages")
    (packages / "celery").mkdir()
    (packages / "celery" / "__init__.py").touch()
    (packages / "celery" / "__main__.py").write_text(
        "import sys\ndef main():\n    print(sys.prefix, *sys.argv[1:], flush=True)\n    sys.stdin.read()\n"
    )
    (tmp_path / "current").symlink_to("releases/a")
    return folder


def test_a_process_stays_in_the_release_with_which_it_started(tmp_path: Path, release: Path) -> None:
    command = [str(tmp_path / "current/venv/bin/python"), str(MODULE), "-A", "shop", "worker"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, check=True, capture_output=True, text=True)
    assert done.stdout == f"{release}/venv -A shop worker\n"


def test_a_release_is_locked_while_a_process_runs_it(tmp_path: Path, release: Path) -> None:
    command = [str(tmp_path / "current/venv/bin/python"), str(MODULE), "worker"]
    lock = ["flock", "--nonblock", str(release), "true"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdout
        worker.stdout.readline()
        assert subprocess.run(lock, check=False).returncode == 1
        worker.communicate()
    assert subprocess.run(lock, check=False).returncode == 0


PING = """
import sys
sys.path[:0] = sys.argv[1:]
from celery.contrib.testing.worker import start_worker
from shop import app
app.conf.update(result_backend="cache+memory://", task_ignore_result=True)
app.set_default()
import lab_celery
with start_worker(app, perform_ping_check=False, queues=["slow jobs"], hostname="x@y"):
    lab_celery.ping("shop:app", ["slow jobs"])
"""


def test_a_ping_goes_through_the_queue_to_a_worker_and_back(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    command = [sys.executable, "-c", PING, str(MODULE.parent), str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (answer,) = json.loads(done.stdout.splitlines()[-1])
    assert answer["queue"] == "slow jobs"
    assert answer["worker"]
    assert 0 < answer["seconds"] < 30
