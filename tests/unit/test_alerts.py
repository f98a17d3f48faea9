"""The alerts of the role monitoring: each is tested by promtool (alerts/), and each names a remedy."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from labctl.testing.devtools import PROMTOOL
from tests.unit.rendering import ROLES, ROOT

RULES = sorted((ROLES / "monitoring" / "files" / "rules").glob("*.yml"))
# Of the sample application, which brings them.
OWN_RULES = ROOT / "app" / "alerts.yml"
TESTS = sorted((Path(__file__).parent / "alerts").glob("*.yml"))


def alerts() -> list[dict[str, Any]]:
    """Every alert of every file of rules."""
    groups = [group for file in (*RULES, OWN_RULES) for group in yaml.safe_load(file.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


@pytest.fixture(scope="module")
def promtool() -> str:
    """Prometheus's own tool; without it skip, but fail where no test may be left out."""
    found = shutil.which("promtool") or (str(PROMTOOL) if PROMTOOL.exists() else "")
    if not found:
        reason = "promtool is missing: ./lab test --unit brings it, or install the package prometheus"
        if os.environ.get("CI") or os.environ.get("LAB_TEST"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_alerts_fire_when_they_should_and_only_then(promtool: str, file: Path) -> None:
    done = subprocess.run([promtool, "test", "rules", str(file)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested() -> None:
    tested = "\n".join(file.read_text() for file in TESTS)
    names = [alert["alert"] for alert in alerts()]
    assert len(names) >= 13
    assert len(set(names)) == len(names)
    assert [name for name in names if not re.search(rf"\b{name}\b", tested)] == []


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_an_alert_has_a_summary_and_a_remedy(alert: dict[str, Any]) -> None:
    assert set(alert["annotations"]) == {"summary", "remedy"}
    for sentence in alert["annotations"].values():
        assert sentence.endswith("."), sentence
        assert "\n" not in sentence
    assert alert["labels"]["severity"] in ("warning", "critical")


def test_rules_are_installed_by_their_names() -> None:
    tasks, variables = (
        yaml.safe_load((ROLES / "monitoring" / name).read_text())
        for name in ("tasks/configure.yml", "vars/main.yml")
    )
    (installed,) = (task["loop"] for task in tasks if "promtool check rules" in str(task) and "loop" in task)
    assert installed == "{{ __monitoring_rules | dict2items }}"
    assert variables["__monitoring_own_rules"] == {file.stem: f"rules/{file.name}" for file in RULES}
    alerts_of_applications = "{{ monitoring_applications | selectattr('alerts', 'defined') }}"
    assert variables["__monitoring_alerts"] == alerts_of_applications
