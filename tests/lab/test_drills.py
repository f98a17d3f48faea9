"""Drills from end to end: a short set under the load of the lab's own application."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest

from labctl.drills.catalogue import SHORT
from tests.lab.commands import DEFAULT_LAB, ROOT, Done, UserLab, wait_for


def report(done: Done) -> dict[str, Any]:
    """The document of `drill --json`."""
    found: dict[str, Any] = done.json()
    return found


@pytest.fixture(scope="module")
def short(lab: UserLab) -> dict[str, Any]:
    """Report of the short set, with one fault for each drill."""
    if lab.name == DEFAULT_LAB:
        pytest.skip(f"the test breaks things and does not run on lab {DEFAULT_LAB}; use another LAB_NAME")
    return report(lab.run("drill", *SHORT, "--seed", "11", "--json"))


@pytest.mark.parametrize("name", SHORT)
def test_nothing_accepted_is_lost(short: dict[str, Any], name: str) -> None:
    (drill,) = (drill for drill in short["drills"] if drill["name"] == name)
    assert drill["ok"], json.dumps([check for check in drill["checks"] if not check["ok"]], indent=1)
    assert drill["account"]["confirmed"] > 100
    assert drill["account"]["executed"] + drill["account"]["dead"] >= drill["account"]["confirmed"]


def test_a_drill_leaves_pictures_and_ledgers(short: dict[str, Any]) -> None:
    folders = sorted((ROOT / ".lab" / "reports" / "drills").glob(f"*-{len(SHORT)}-drills"))
    for name in SHORT:
        assert (folders[-1] / name / "timeline.png").stat().st_size > 10_000
        ledger = json.loads((folders[-1] / name / "ledger-lab.json").read_text())
        assert ledger["answers" if name == "jobs" else "published"]


def test_every_submission_is_accepted_or_refused_clearly(short: dict[str, Any]) -> None:
    """The drill fails a broker, a worker and the database."""
    (drill,) = (drill for drill in short["drills"] if drill["name"] == "jobs")
    jobs = drill["jobs"]
    assert jobs["done"] == jobs["accepted"] > 30
    assert jobs["submitted"] == jobs["accepted"] + sum(jobs["refused"].values())
    assert set(jobs["refused"]) <= {"429", "503"}
    assert "503" in jobs["refused"], "the database was unavailable"


def test_an_interrupted_drill_leaves_a_healthy_lab(spare_lab: UserLab) -> None:
    """Interrupted during a freeze, the drill resumes the broker and ends the load."""
    process = spare_lab.start("drill", "freeze-broker-leader", "--seed", "3")
    frozen = "systemctl list-timers --all --no-legend lab-drill-heal.timer"

    def is_frozen() -> bool:
        assert process.poll() is None, process.communicate()[0]
        asked = (
            spare_lab.run("shell", f"broker-{number}", "sh", "-c", frozen).out.strip() for number in (1, 2, 3)
        )
        return any(asked)

    wait_for("a frozen broker", 90, is_frozen)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 130, process.communicate()[0]
    # The members of queues on the resumed broker catch up before the lab counts as healthy.
    spare_lab.wait_until_healthy(120)
    load = spare_lab.run("shell", "gateway-1", "systemctl", "is-active", "lab-drill-load.service")
    assert load.out.strip() != "active"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "There is no drill 'nonsense'"),
        ([], "Name a drill"),
        (["--soak", "5"], "needs a --seed"),
        (["--soak", "5", "--seed", "1", "poison-task"], "picks its faults itself"),
        (["poison-task", "--rounds", "0"], "0 is not in the range"),
        (["kill-worker", "--durable"], "need --app"),
    ],
)
def test_wrong_usage_is_reported(lab: UserLab, arguments: list[str], words: str) -> None:
    done = lab.run("drill", *arguments)
    assert done.status == 2, str(done)
    assert words in done.err
