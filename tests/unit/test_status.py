"""Asking the nodes how they are."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from labctl.context import Context
from labctl.paths import LabPaths
from labctl.screen import Screen
from labctl.status import nodes, report

SLOW_S = 0.6


@dataclass
class Hosts:
    """Hosts on this machine; each answers with its groups as its services, unless it is silent."""

    silent: str = ""

    def groups(self) -> dict[str, list[str]]:
        names = [f"worker-{number}" for number in range(1, 7)]
        return {"brokers": [], "workers": names, "gateways": ["worker-1"], "databases": ["database-1"]}

    def states(self) -> dict[str, str]:
        return dict.fromkeys([f"worker-{number}" for number in range(1, 7)], "running") | {
            "database-1": "stopped"
        }

    def shell(self, node: str, command: list[str], **_: bool) -> list[str]:
        assert command[:2] == ["python3", "-"]
        program = "sys.exit(1)" if node == self.silent else "exec(sys.stdin.read())"
        return [sys.executable, "-c", f"import sys; {program}", *command[2:]]

    def patience(self) -> float:
        return 1.0


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "node_status.py"
    file.write_text(
        f"import json, sys, time; time.sleep({SLOW_S}); print(json.dumps("
        "{'state': 'running', 'services': dict.fromkeys(sys.argv[1:], 'active')}))"
    )
    monkeypatch.setattr(report, "PROGRAM", file)


def read(tmp_path: Path, hosts: Hosts) -> dict[str, dict[str, object]]:
    context = Context(LabPaths("x", tmp_path), hosts, Screen())  # type: ignore[arg-type]
    return {node["name"]: node for node in nodes.read(context)["nodes"]}


def test_all_nodes_that_run_are_asked_at_the_same_time(tmp_path: Path, program: None) -> None:
    started = time.monotonic()
    found = read(tmp_path, Hosts())
    assert time.monotonic() - started < 5 * SLOW_S
    assert found["worker-1"]["services"] == {"workers": "active", "gateways": "active"}
    assert {found[f"worker-{number}"]["state"] for number in range(1, 7)} == {"running"}
    assert found["database-1"]["state"] == "stopped"


def test_a_node_that_does_not_answer_is_unreachable_and_the_others_are_shown(
    tmp_path: Path, program: None
) -> None:
    found = read(tmp_path, Hosts(silent="worker-2"))
    assert found["worker-2"] == {
        "name": "worker-2",
        "group": "workers",
        "state": "unreachable",
        "services": {},
    }
    assert found["worker-3"]["state"] == "running"
