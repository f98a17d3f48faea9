"""lab-quorum-watch: which members of a queue it replaces, and which leaders it moves."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from labctl.paths import ROOT

RECORDED = Path(__file__).parent / "recorded"
PROGRAM = ROOT / "roles" / "rabbitmq" / "files" / "lab-quorum-watch"
NODE = "rabbit@broker-2"
BROKERS = tuple(f"rabbit@broker-{number}" for number in (1, 2, 3))


class Broker:
    """A simulated broker: states of the members of its queue, and the commands that were run."""

    def __init__(self, module: ModuleType, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.module = module
        self._file = folder / "state.json"
        self.states = {"rabbit@broker-1": "leader", NODE: "follower", "rabbit@broker-3": "follower"}
        self.now = 1000.0
        self.done: list[str] = []
        self.fails = False
        self.brokers = [{"name": name, "running": True, "being_drained": False} for name in BROKERS]
        self.queues: list[dict[str, Any]] = []
        (folder / "monitor.json").write_text("{}")
        monkeypatch.setattr(module, "MONITOR", folder / "monitor.json")
        monkeypatch.setattr(module, "ask", self._ask)
        monkeypatch.setattr(module, "run", self._run)
        monkeypatch.setattr(module.time, "monotonic", lambda: self.now)
        # Somebody sets the clock between two runs, back and forth.
        clock = itertools.cycle([5000.0, 100.0])
        monkeypatch.setattr(module.time, "time", lambda: next(clock))

    def watch(self, after: float = 0, node: str = NODE) -> int:
        self.now += after
        status: int = self.module.watch(40, self._file, node)
        return status

    def _ask(self, _monitor: dict[str, str], path: str) -> Any:
        if path.startswith("nodes"):
            return self.brokers
        if path.startswith("queues"):
            return self.queues
        whole = set(self.states.values()) <= {"leader", "follower"}
        return {} if whole else {"queues": [{"virtual_host": "mosaic", "name": "some.queue"}]}

    def _run(self, program: str, *words: str) -> str:
        if program == "rabbitmqctl":
            self.done.append("".join(words[1].split()))
            return "[]"
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


def test_a_broker_that_is_down_explains_it_all(broker: Broker) -> None:
    broker.states[NODE] = "noproc"
    broker.brokers[2]["running"] = False
    broker.watch()
    broker.watch(100)
    assert not broker.done


def led(*leaders: str, members: Sequence[str] = BROKERS) -> list[dict[str, Any]]:
    """Queues as the management API lists them, each with the broker that leads it."""
    return [
        {
            "vhost": "mosaic",
            "name": f"q{index}",
            "type": "quorum",
            "leader": leader,
            "members": [*members],
        }
        for index, leader in enumerate(leaders)
    ]


def leads(queues: list[dict[str, Any]], moves: list[Any]) -> dict[str, list[int]]:
    """Numbers of leaders of the brokers after the moves, by vhost and sort of queue."""
    now = {(queue["vhost"], queue["name"]): queue["leader"] for queue in queues}
    now |= {(queue.vhost, queue.name): to for queue, to in moves}
    found: dict[str, list[int]] = {}
    for (vhost, name), leader in now.items():
        sort = f"{vhost} {'delayed' if name.startswith('celery_delayed_') else 'own'}"
        found.setdefault(sort, [0, 0, 0])[BROKERS.index(leader)] += 1
    return found


@pytest.mark.parametrize(
    "counts", [(10, 0, 0), (5, 5, 0), (4, 4, 2), (1, 0, 4), (0, 9, 2), (2, 0, 0), (1, 1, 0)]
)
def test_brokers_lead_about_as_many_queues(broker: Broker, counts: tuple[int, int, int]) -> None:
    queues = led(*(name for name, count in zip(BROKERS, counts, strict=True) for _ in range(count)))
    moves = broker.module.moves(queues)
    (after,) = leads(queues, moves).values()
    assert max(after) - min(after) <= 1
    share = sum(counts) // 3
    assert len(moves) <= sum(max(0, count - share) for count in counts), "no more than necessary"
    assert broker.module.moves(led(*BROKERS)) == []


def test_queues_of_an_application_are_not_balanced_with_others(broker: Broker) -> None:
    """The recorded lab right after a restart of a broker, which then led none of the application's queues."""
    queues: list[dict[str, Any]] = json.loads((RECORDED / "queues.json").read_text())
    assert leads(queues, [])["mosaic own"] == [4, 0, 7]
    after = leads(queues, broker.module.moves(queues))
    assert all(max(counts) - min(counts) <= 1 for counts in after.values()), after


def test_a_leader_moves_only_to_a_member(broker: Broker) -> None:
    queues = led(*[BROKERS[0]] * 4, members=BROKERS[:2])
    assert leads(queues, broker.module.moves(queues)) == {"mosaic own": [2, 2, 0]}
    classic = [{"vhost": "mosaic", "name": str(index), "type": "classic"} for index in range(9)]
    assert broker.module.moves(classic) == []


def test_the_first_broker_moves_leaders_when_nothing_else_is_wrong(broker: Broker) -> None:
    broker.queues = led(*[NODE] * 3)
    broker.watch()
    assert not broker.done, "another broker does it"
    for wrong in ({"running": False}, {"being_drained": True}):
        before = broker.brokers[1]
        broker.brokers[1] = before | wrong
        broker.watch(node=BROKERS[0])
        broker.brokers[1] = before
    broker.states[NODE] = "noproc"
    broker.watch(node=BROKERS[0])
    assert not broker.done
    broker.states[NODE] = "follower"
    assert broker.watch(node=BROKERS[0]) == 0
    [command] = broker.done
    to = ",".join(map(str, BROKERS[0].encode()))
    assert f"[{{<<109,111,115,97,105,99>>,<<113,48>>,<<{to}>>}}," in command
