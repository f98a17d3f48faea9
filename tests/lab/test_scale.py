"""`./lab scale` under load: a worker host joins and leaves, and the ledger shows that no task was lost."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from labctl.drills.task_load import TaskLoad
from labctl.paths import LabPaths
from labctl.substrates.containers import DockerSubstrate
from tests.lab.commands import UserLab, docker, wait_for

LIMIT_S = 300.0


def nodes() -> list[str]:
    """Names of all containers."""
    return docker("ps", "--all", "--format", "{{.Names}}").split()


def test_scale_loses_no_task(spare_lab: UserLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = spare_lab
    monkeypatch.setenv("LAB_NAME", lab.name)
    hosts = lab.run("scale", "--json").json()["workers"]["hosts"]
    new = f"worker-{len(hosts) + 1}"
    substrate = DockerSubstrate(LabPaths(lab.name))
    run = f"scale-{os.getpid()}-{time.time():.0f}"
    try:
        with TaskLoad(substrate, "gateway-1", run=run, limit=LIMIT_S, log=tmp_path / "load.log") as load:
            added = lab.run("scale", f"workers={len(hosts) + 1}", "--json")
            assert added.status == 0, str(added)
            assert added.json()["new"] == [new]
            up = lab.up()
            assert up.status == 0, str(up)
            assert re.search(r"changed=0\b", up.out), "the next up keeps the host, and changes nothing"
            gone = lab.run("scale", f"workers={len(hosts)}", "--json")
            assert gone.status == 0, str(gone)
            load.stop()
            counts = load.counts
            wait_for("the last tasks", 30, lambda: load.counts.executed >= counts.confirmed)
            ledger = load.read_back(tmp_path / "ledger.json")
    finally:
        if f"{lab.name}-{new}" in nodes():
            lab.run("scale", f"workers={len(hosts)}")
    confirmed = {unit for unit, entry in ledger.published.items() if entry.confirmed is not None}
    assert confirmed <= ledger.effects.keys(), "a confirmed task was lost"
    attempts = {unit: len(found) for unit, found in ledger.attempts_of.items()}
    assert set(attempts.values()) == {1}, "a task that was short was interrupted or ran twice"
    assert new in {attempt.host for attempt in ledger.attempts}, "the new host took no task"
    assert f"{lab.name}-{new}" not in nodes()
    for node in ("broker-1", "gateway-1", *hosts):
        assert f" {new}" not in lab.run("shell", node, "cat", "/etc/hosts").out, f"{node} still knows {new}"
    lab.wait_until_healthy(60)
    assert f"mosaic.host.{new}" not in lab.status()["queues"]


@pytest.mark.parametrize("words", [["workers=0"], ["workers=abc"], ["brokers=5"], ["workers=200"]])
def test_bad_input_is_refused(lab: UserLab, words: list[str]) -> None:
    before = (lab.state / "lab.json").read_text()
    done = lab.run("scale", *words)
    assert done.status == 2, str(done)
    assert len(done.err.strip().splitlines()) == 1, str(done)
    assert (lab.state / "lab.json").read_text() == before
