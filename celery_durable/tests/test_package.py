"""The public interface: few names, each explained, and no dependency except Celery."""

from __future__ import annotations

import inspect
import re
import tomllib
from pathlib import Path

import programs
import pytest
import readme
from celery_durable.settings import SETTINGS

import celery_durable
from celery_durable import metrics, systemd

PROJECT = Path(__file__).parents[1]
PUBLIC = {
    **{name: getattr(celery_durable, name) for name in celery_durable.__all__},
    "measure_publishing": metrics.measure_publishing,
    **{name: getattr(systemd, name) for name in ("notify", "ready", "stopping")},
}
ALL = """
import importlib, pkgutil, sys
import celery_durable
for module in pkgutil.iter_modules(celery_durable.__path__):
    if module.name not in ("metrics", "backend", "wrap"):  # which have extras, or are a program
        importlib.import_module(f"celery_durable.{module.name}")
"""
CELERY = """
import sys
import celery.app.events, celery.concurrency.prefork, celery.worker.consumer.delayed_delivery
import kombu.transport.pyamqp
"""
NAMES = "print(*{name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names))"


def test_names_are_few_and_explained() -> None:
    assert len(PUBLIC) <= 10
    assert [name for name, thing in PUBLIC.items() if not inspect.getdoc(thing)] == []
    methods = {
        f"{name}.{method}": thing
        for name, owner in PUBLIC.items()
        if inspect.isclass(owner)
        for method, thing in vars(owner).items()
        if not method.startswith("_") and (inspect.isfunction(thing) or isinstance(thing, property))
    }
    assert [name for name, thing in methods.items() if not inspect.getdoc(thing)] == []


@pytest.mark.parametrize("name", ["ConfirmWindow", "Unconfirmed", "make_durable", "quorum_queue"])
def test_each_says_what_it_prevents_and_which_drill_shows_it(name: str) -> None:
    words = inspect.getdoc(PUBLIC[name]) or ""
    assert "Prevents" in words
    drills = (PROJECT.parent / "docs/measurements/2026-11-reliability.md").read_text(encoding="utf-8")
    named = [word for word in words.split("`") if "-" in word and " " not in word]
    assert [drill for drill in named if f"| {drill} |" in drills]


def test_it_loads_nothing_but_celery() -> None:
    loaded, celerys = (set(programs.output(code + NAMES).split()) for code in (ALL, CELERY))
    assert loaded - celerys == {"celery_durable"}


def test_a_producer_does_not_load_celerys_worker() -> None:
    code = "import sys, celery_durable; print('celery.worker' in sys.modules, 'sqlalchemy' in sys.modules)"
    assert programs.output(code) == "False False\n"


def test_no_module_knows_the_sample_application() -> None:
    for module in (PROJECT / "src").rglob("*.py"):
        assert "mosaic" not in module.read_text(encoding="utf-8"), module


def test_it_needs_celery_alone() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert [word.partition(">")[0] for word in project["dependencies"]] == ["celery"]
    assert sorted(project["optional-dependencies"]) == ["database", "prometheus"]


def test_the_readme_has_the_settings_of_the_code() -> None:
    text = readme.README.read_text(encoding="utf-8")
    assert text == readme.with_table(text), "run celery_durable/tests/readme.py"
    assert len(text.splitlines()) < 200


def test_the_figures_are_those_of_the_drills() -> None:
    """Numbers of tasks and of seconds, in the table of settings."""
    measured = (PROJECT.parent / "docs/measurements/2026-11-reliability.md").read_text(encoding="utf-8")
    measured = measured.replace("**", "").replace("twelve", "12")
    for setting in SETTINGS:
        assert [drill for drill in setting.drills if f"| {drill} |" not in measured] == []
        figures = re.findall(r"\d+ of \d+ tasks|\d+\.\d s|\d+ (?:restarts|times)", setting.without)
        assert figures or not setting.drills, f"{setting.name}: a drill, and no figure"
        for figure in figures:
            for number in re.findall(r"[\d.]*\d", figure):
                assert re.search(rf"\b{re.escape(number)}\b", measured), (setting.name, figure)
