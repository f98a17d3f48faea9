"""The runner: which load it starts, which hosts it hits, and how often it checks the lab."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest

from labctl.ansible import playbooks
from labctl.context import Context
from labctl.drills import job_load, runner
from labctl.drills.catalogue import JOBS, find
from labctl.drills.definition import Series
from labctl.drills.ledger import Attempt, Ledger, Published
from labctl.drills.load import Counts
from labctl.drills.result import Result
from labctl.drills.targets import Held
from labctl.paths import LabPaths
from labctl.screen import Screen, Step

GROUPS = {
    "brokers": ["broker-1", "broker-2", "broker-3"],
    "workers": ["worker-1", "worker-2"],
    "gateways": ["gateway-1"],
    "databases": ["database-1"],
    "monitors": [],
}


class FakeLoad:
    """A load of one task, which is held on worker-2 and begun again there 0.5 s after 100.0."""

    vhost = "mosaic"
    queue = "mosaic.some"
    worker_unit = "some.service"
    counts = Counts(1, 1, 0, 1)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.arguments, self.options = arguments, options

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def progress(self) -> str:
        return "1 accepted"

    def now(self) -> float:
        return 100.0

    def hold(self, _host: str) -> Held:
        return Held(1, "worker-2", 77)

    def stop(self) -> float:
        return 110.0

    def read_back(self, file: Path) -> Ledger:
        file.write_text("{}")
        attempts = [
            Attempt(1, 1, 1, "worker-2", 77, 99.0),
            Attempt(2, 1, 2, "worker-2", 78, 100.5, 100.6, "done"),
        ]
        return Ledger({1: Published(1, "work", "celery", 98.0, 98.1)}, attempts, {1: 2})


class Lab:
    """A healthy lab whose queues are led by broker-3; keeps what was asked of it."""

    def __init__(self) -> None:
        self.looks = 0
        self.played: list[dict[str, Any]] = []

    def read(self, _context: Context) -> dict[str, Any]:
        self.looks += 1
        return {"healthy": True, "queues": {FakeLoad.queue: {"vhost": "mosaic", "leader": "broker-3"}}}

    def play(self, _paths: LabPaths, name: str, _step: Step, **options: Any) -> playbooks.Run:
        self.played.append({"playbook": name, **options["variables"]})
        return playbooks.Run(name, Path("log"), stdout={"host": "100.0"})


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    found = Lab()
    monkeypatch.setattr("labctl.status.nodes.read", found.read)
    monkeypatch.setattr("labctl.ansible.playbooks.run", found.play)
    monkeypatch.setattr(runner, "TaskLoad", FakeLoad)
    monkeypatch.setattr(job_load, "JobLoad", FakeLoad)
    for name in ("WARM_UP_S", "CALM_S"):
        monkeypatch.setattr(runner, name, 0.0)
    monkeypatch.setattr(runner._Execution, "_watch", lambda *_: None)
    return found


def execute(series: Series, folder: Path) -> Result:
    substrate = SimpleNamespace(
        groups=lambda: GROUPS,
        patience=lambda: 1.0,
        inventory=Path("inventory"),
        url=lambda: "https://127.0.0.1:8443",
        console_password=lambda: "secret",
    )
    context = Context(LabPaths("lab", folder), substrate, Screen(json=True))
    return runner.execute(context, runner.Run(series, "run", 1, folder / "run"), Step("drill"))


def test_the_leader_is_the_one_of_the_latest_look(lab: Lab, tmp_path: Path) -> None:
    """A look at every node takes seconds: one before the load, and one after each fault."""
    series = Series("kills", (find("kill-broker-leader"), find("kill-broker-leader")))
    result = execute(series, tmp_path)
    assert [played["drill_hosts"] for played in lab.played] == [["broker-3"]] * 2
    assert lab.looks == 3
    assert [item.drill for item in result.rounds] == ["kill-broker-leader"] * 2


def test_a_queue_that_was_not_there_is_looked_for(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another vhost may have a queue of the same name."""
    monkeypatch.setattr(FakeLoad, "queue", "celery")
    monkeypatch.setattr(FakeLoad, "vhost", "lab-drill")
    shop = {"vhost": "shop", "leader": "broker-2"}
    both = {"shop/celery": shop, "lab-drill/celery": {"vhost": "lab-drill", "leader": "broker-1"}}
    answers = iter([{"celery": shop}, both, {}])
    monkeypatch.setattr("labctl.status.nodes.read", lambda _: {"healthy": True, "queues": next(answers)})
    execute(Series("kill", (find("kill-broker-leader"),)), tmp_path)
    assert [played["drill_hosts"] for played in lab.played] == [["broker-1"]]


def test_a_series_of_jobs_is_under_a_load_of_jobs(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[str, tuple[Any, ...]]] = []

    class Jobs(FakeLoad):
        def __init__(self, *arguments: Any) -> None:
            started.append(("jobs", arguments))

    monkeypatch.setattr(job_load, "JobLoad", Jobs)
    monkeypatch.setattr("labctl.console_api.Console", lambda url, _paths, secret: (url, secret))
    kill_child = next(drill for drill in JOBS.drills if drill.name == "kill-pool-child")
    result = execute(Series("jobs", (kill_child,), jobs=True), tmp_path)
    assert started == [("jobs", (("https://127.0.0.1:8443", "secret"), 1.0))]
    assert lab.played[0]["drill_pid"] == 77
    (item,) = result.rounds
    assert item.metric("rerun") == pytest.approx(0.5)
    assert (tmp_path / "run" / "ledger-lab.json").exists()
