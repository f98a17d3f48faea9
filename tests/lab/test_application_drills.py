"""Drills of an own application: what is lost without a setting, and that nothing is left behind."""

from __future__ import annotations

from typing import Any

import pytest

from labctl.audit.rules import guards
from tests.lab.commands import DEFAULT_LAB, UserLab

OWN = ("--app", "first_steps", "--task", "tasks.add", "--args", "[1, 2]")
# By drill: settings without which it loses tasks. With all settings it loses none.
EVIDENCE = {
    "kill-pool-child": ("task_acks_late", "task_reject_on_worker_lost"),
    # A broker that only freezes may still read what its host had received, when it continues.
    "power-off-broker-leader": ("broker_transport_options",),
}


@pytest.fixture(scope="module")
def shown(lab: UserLab) -> dict[tuple[str, str], dict[str, Any]]:
    """The result of each drill: with all settings, and without each of EVIDENCE."""
    if lab.name == DEFAULT_LAB:
        pytest.skip(f"the test breaks things and does not run on lab {DEFAULT_LAB}; use another LAB_NAME")
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for drill, settings in EVIDENCE.items():
        without = [word for setting in settings for word in ("--without", setting)]
        without += ["--evidence"] if set(guards()[drill]) <= set(settings) else []
        done = lab.run("drill", *OWN, *without, drill, "--seed", "11", "--json")
        found |= {(drill, result["profile"]): result for result in done.json()["drills"]}
    return found


@pytest.mark.parametrize("drill", EVIDENCE)
def test_with_all_settings_no_task_is_lost(shown: dict[tuple[str, str], dict[str, Any]], drill: str) -> None:
    durable = shown[drill, "durable"]
    assert durable["lost"] == durable["waiting"] == 0, durable["checks"]
    assert durable["finished"] > 50


@pytest.mark.parametrize(
    ("drill", "setting"), [(drill, setting) for drill, settings in EVIDENCE.items() for setting in settings]
)
def test_without_the_setting_a_task_is_lost(
    shown: dict[tuple[str, str], dict[str, Any]], drill: str, setting: str
) -> None:
    assert shown[drill, f"without {setting}"]["lost"] > 0


@pytest.mark.usefixtures("shown")
def test_a_drill_leaves_nothing_in_the_application(lab: UserLab) -> None:
    left = "ls /etc/systemd/system /etc/first_steps /var/lib/first_steps | grep -i drill; echo checked"
    for host in ("worker-1", "worker-2", "worker-3", "gateway-1"):
        assert lab.run("shell", host, "sh", "-c", left).out.split() == ["checked"]
    assert "lab-drill" not in lab.run("shell", "broker-1", "rabbitmqctl", "-q", "list_vhosts").out.split()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--app", "nothing", "--task", "x", "kill-worker"], "it has django, first_steps, flask"),
        (["--app", "mosaic", "--task", "x", "kill-worker"], "leave out --app"),
        (["--app", "first_steps", "--task", "tasks.ad", "kill-worker"], "it has tasks.add"),
        (["--app", "first_steps", "--task", "tasks.add", "kill-worker"], "does not take these arguments"),
        ([*OWN[:4], "--args", "1, 2", "kill-worker"], "is no JSON of this form"),
        ([*OWN, "kill-worker", "poison-task"], "poison-task needs tasks of mosaic"),
        ([*OWN, "jobs"], "jobs needs tasks of mosaic"),
    ],
)
def test_wrong_usage_is_reported(lab: UserLab, arguments: list[str], words: str) -> None:
    done = lab.run("drill", *arguments)
    assert done.status == 2, str(done)
    assert words in done.err
