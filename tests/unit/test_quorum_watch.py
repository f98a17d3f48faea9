"""lab-quorum-watch: which members of a queue it replaces, when, and what it does not change."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import itertools
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from labctl.paths import ROOT

PROGRAM = ROOT / "roles" / "rabbitmq" / "files" / "lab-quorum-watch"
NODE = "rabbit@broker-2"


class Broker:
    """A simulated broker: states of the members of its queue, and the commands that were run."""

    def __init__(self, module: ModuleType, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.module = module
        self._file = folder / "state.json"
        self.states = {"rabbit@broker-1": "leader", NODE: "follower", "rabbit@broker-3": "follower"}
        self.now = 1000.0
        self.done: list[str] = []
        self.fails = False
        (folder / "monitor.json").write_text("{}")
        monkeypatch.setattr(module, "MONITOR", folder / "monitor.json")
        self.endangered = module.endangered
        monkeypatch.setattr(module, "endangered", self._endangered)
        monkeypatch.setattr(module, "run", self._run)
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)
        # Somebody sets the clock between two runs, back and forth.
        clock = itertools.cycle([5000.0, 100.0])
        monkeypatch.setattr(module.time, "time", lambda: next(clock))

    def watch(self, after: float = 0) -> int:
        self.now += after
        status: int = self.module.watch(40, self._file, NODE)
        return status

    def _endangered(self, _monitor: dict[str, str]) -> list[Any]:
        whole = set(self.states.values()) <= {"leader", "follower"}
        return [] if whole else [self.module.Queue("mosaic", "some.queue")]

    def _run(self, *words: str) -> str:
        if words[0] == "quorum_status":
            return json.dumps(
                [{"Node Name": name, "Raft State": state} for name, state in self.states.items()]
            )
        if self.fails:
            raise OSError("timed out")
        assert words[1:] == ("--vhost", "mosaic", "some.queue", NODE)
        self.done.append(words[0])
        if words[0] == "add_member":
            self.states[NODE] = "follower"
        return ""


@pytest.fixture
def broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Broker:
    loader = importlib.machinery.SourceFileLoader("quorum_watch", str(PROGRAM))
    spec = importlib.util.spec_from_loader("quorum_watch", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    loader.exec_module(module)
    return Broker(module, monkeypatch, tmp_path)


@pytest.mark.parametrize("state", ["await_condition", "noproc"])
def test_a_member_that_stays_stuck_is_replaced(broker: Broker, state: str) -> None:
    broker.states[NODE] = state
    assert broker.watch() == 0
    assert broker.watch(39) == 0
    assert not broker.done
    assert broker.watch(2) == 0
    assert broker.done == ["delete_member", "add_member"]
    assert broker.watch(60) == 0
    assert len(broker.done) == 2


def test_a_copy_that_catches_up_in_between_is_left_alone(broker: Broker) -> None:
    broker.states[NODE] = "await_condition"
    broker.watch()
    broker.states[NODE] = "follower"
    broker.watch(30)
    broker.states[NODE] = "await_condition"
    broker.watch(30)
    broker.watch(30)
    assert not broker.done


@pytest.mark.parametrize(
    "states",
    [
        {"rabbit@broker-3": "await_condition"},  # the member of another broker
        {NODE: "await_condition", "rabbit@broker-3": "noproc"},  # the others have no majority
        {NODE: "await_condition", "rabbit@broker-1": "follower"},  # there is no leader
        {NODE: "receive_snapshot"},
        {NODE: "candidate", "rabbit@broker-1": "follower"},
    ],
)
def test_other_trouble_is_left_alone(broker: Broker, states: dict[str, str]) -> None:
    broker.states |= states
    broker.watch()
    broker.watch(100)
    assert not broker.done


def test_what_failed_is_tried_again(broker: Broker, capsys: pytest.CaptureFixture[str]) -> None:
    broker.states[NODE] = "noproc"
    broker.watch()
    broker.fails = True
    assert broker.watch(50) == 1
    assert "some.queue in mosaic: timed out" in capsys.readouterr().out
    broker.fails = False
    assert broker.watch(1) == 0
    assert broker.done == ["delete_member", "add_member"]


def test_a_broken_memory_is_none(broker: Broker, tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{")
    broker.states[NODE] = "noproc"
    assert broker.watch() == 0
    assert not broker.done


@pytest.mark.parametrize(("running", "found"), [(True, ["some.queue"]), (False, [])])
def test_a_broker_that_is_down_explains_it_all(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, running: bool, found: list[str]
) -> None:
    def ask(_monitor: dict[str, str], path: str) -> Any:
        if path.startswith("nodes"):
            return [{"name": NODE, "running": True}, {"name": "rabbit@broker-1", "running": running}]
        return {"status": "failed", "queues": [{"name": "some.queue", "virtual_host": "mosaic"}]}

    monkeypatch.setattr(broker.module, "ask", ask)
    assert [queue.name for queue in broker.endangered({})] == found
