"""The CI files to copy: each job runs a part of ./lab test that exists, and nothing is left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from labctl.paths import ROOT
from labctl.testing import molecule, pythons
from tests.unit.documented import commands, parse

GITHUB: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
GITLAB: dict[str, Any] = yaml.safe_load((ROOT / ".gitlab-ci.yml").read_text())
KEYWORDS = ("default", "stages", "variables")
#: The jobs of both, with what each gives to ./lab test.
JOBS = {
    "lint": ["--lint"],
    "unit": ["--unit"],
    "roles": ["--role", "NAME"],
    "lab": ["--lab"],
    "upgrade": ["--upgrade"],
}


def github() -> Iterator[tuple[str, list[str], dict[str, list[str]]]]:
    """Name, command lines and matrix of each job."""
    for name, job in GITHUB["jobs"].items():
        yield (
            name,
            [step["run"] for step in job["steps"] if "run" in step],
            job.get("strategy", {}).get("matrix", {}),
        )


def gitlab() -> Iterator[tuple[str, list[str], dict[str, list[str]]]]:
    """The same of GitLab's."""
    for name, job in GITLAB.items():
        if name not in KEYWORDS:
            (matrix,) = job.get("parallel", {}).get("matrix", [{}])
            yield name, job["script"], {key.lower(): values for key, values in matrix.items()}


@pytest.mark.parametrize("jobs", [github, gitlab])
def test_each_job_runs_its_part_of_the_tests_and_nothing_else(jobs: Any) -> None:
    found = {}
    for name, lines, matrix in jobs():
        (line,) = lines
        for scenario in matrix.get("scenario", ["-"]):
            filled = line.replace("${{ matrix.scenario }}", scenario).replace("$SCENARIO", scenario)
            ((program, test, *arguments),) = commands(filled)
            assert (program, test) == ("./lab", "test")
            parse([test, *arguments])
            found[name] = ["NAME" if argument == scenario else argument for argument in arguments]
    assert found == JOBS


@pytest.mark.parametrize("jobs", [github, gitlab])
def test_the_matrices_have_every_scenario_and_every_python(jobs: Any) -> None:
    matrices = {name: matrix for name, _, matrix in jobs() if matrix}
    minors = range(min(pythons.OLD), max(pythons.NEW) + 1)
    assert matrices == {
        "roles": {"scenario": sorted(molecule.scenarios())},
        "unit": {"python": [f"3.{minor}" for minor in minors]},
    }


def test_jobs_of_the_unit_tests_run_in_the_python_of_the_matrix() -> None:
    assert GITHUB["jobs"]["unit"]["container"] == "python:${{ matrix.python }}-bookworm"
    assert GITLAB["unit"]["image"] == "python:${PYTHON}-bookworm"


def test_what_is_installed_is_cached() -> None:
    for name, job in GITHUB["jobs"].items():
        (cache,) = [
            step["with"] for step in job["steps"] if step.get("uses", "").startswith("actions/cache@")
        ]
        assert cache["path"].split("\n")[:2] == ["${{ env.PIP_CACHE_DIR }}", ".lab/cache"], name
    assert GITLAB["default"]["cache"]["paths"] == [".cache/pip", ".lab/cache"]
    assert GITLAB["variables"]["PIP_CACHE_DIR"] == "$CI_PROJECT_DIR/.cache/pip"
