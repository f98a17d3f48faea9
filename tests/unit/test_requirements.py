"""What is installed is pinned by version and hash, and is what its declaration asks for."""

from __future__ import annotations

import re
import tomllib
from itertools import chain

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from labctl.paths import ROOT

APP = ("app/pyproject.toml", "celery_durable/pyproject.toml")
# Output and input of labctl/compile-requirements.
DECLARED = {
    "requirements.txt": ["requirements.in"],
    "app/requirements.txt": [*APP],
    "roles/flower/files/requirements.txt": ["roles/flower/files/requirements.in"],
    "celery_durable/tests/requirements-oldest.txt": ["celery_durable/tests/requirements-oldest.in"],
    "requirements-dev.txt": ["requirements-dev.in", "requirements.in", *APP],
}
HASHES = re.compile(r"( --hash=sha256:[0-9a-f]{64})+")
OWN = "celery-durable"


def pinned(file: str) -> dict[str, dict[str, Requirement]]:
    """{name: {version: requirement}} of a compiled file; fails where a line is not pinned or has no hash."""
    text = re.sub(r"\s*\\\n\s*", " ", (ROOT / file).read_text(encoding="utf-8"))
    found: dict[str, dict[str, Requirement]] = {}
    for line in (line for line in text.splitlines() if line and not line.lstrip().startswith("#")):
        declared, separator, _ = line.partition(" --hash=")
        assert separator, line
        assert HASHES.fullmatch(line.removeprefix(declared)), line
        requirement = Requirement(declared)
        ((operator, version),) = ((given.operator, given.version) for given in requirement.specifier)
        assert operator == "==", line
        found.setdefault(canonicalize_name(requirement.name), {})[version] = requirement
    return found


def declared(file: str) -> list[Requirement]:
    """Direct dependencies that a person wrote down, without those of this project."""
    text = (ROOT / file).read_text(encoding="utf-8")
    if file.endswith(".toml"):
        project = tomllib.loads(text)["project"]
        extras = project.get("optional-dependencies", {}).values()
        lines = [*project["dependencies"], *chain.from_iterable(extras)]
    else:
        words = (line.partition("#")[0].strip() for line in text.splitlines())
        lines = [line for line in words if line and not line.startswith("-")]
    return [one for one in map(Requirement, lines) if canonicalize_name(one.name) != OWN]


def test_every_file_of_requirements_is_known() -> None:
    listed = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("[!.]*/**/requirements*.txt")}
    listed = {file for file in listed if not file.startswith("examples/")}  # written by hand
    assert listed | {path.name for path in ROOT.glob("requirements*.txt")} == set(DECLARED)


@pytest.mark.parametrize("file", DECLARED)
def test_all_is_pinned_as_declared(file: str) -> None:
    compiled = pinned(file)
    for source in DECLARED[file]:
        for requirement in declared(source):
            versions = compiled[canonicalize_name(requirement.name)]
            assert any(requirement.specifier.contains(version) for version in versions), (source, requirement)


@pytest.mark.parametrize("file", DECLARED)
def test_no_address_and_no_path_is_in_it(file: str) -> None:
    text = (ROOT / file).read_text(encoding="utf-8")
    assert not re.findall(r"^.*(?:://|--index|--extra|--find| /\w).*$", text, re.MULTILINE)


@pytest.mark.parametrize("file", ["requirements.txt", "app/requirements.txt"])
def test_development_packages_leave_versions_as_they_are(file: str) -> None:
    everything = pinned("requirements-dev.txt")
    for name, versions in pinned(file).items():
        assert versions.keys() == everything[name].keys(), name


def test_flower_reads_events_with_the_celery_that_sends_them() -> None:
    flower, app = pinned("roles/flower/files/requirements.txt"), pinned("app/requirements.txt")
    assert [flower[name].keys() for name in ("celery", "kombu")] == [
        app[name].keys() for name in ("celery", "kombu")
    ]


def test_installations_ask_for_hashes_and_wheels() -> None:
    programs = [*ROOT.glob("labctl/**/*.py"), *ROOT.glob("roles/*/files/install-*")]
    texts = {path.name: path.read_text(encoding="utf-8") for path in programs}
    installers = {name: text for name, text in texts.items() if "--disable-pip-version-check" in text}
    del installers["install-release"]  # what an application of others requires is theirs to say
    assert sorted(installers) == ["bootstrap.py", "devtools.py", "install-flower", "install-wheel"]
    for name, text in installers.items():
        assert "--require-hashes" in text, name
        assert re.search(r"--only-binary[ =]:all:", text), name
