"""The order of a test's lab: created, updated, checked, used, removed, with every step in the report."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from labctl.commands import up
from labctl.context import Context
from labctl.errors import LabError
from labctl.lab.inventory import added_applications
from labctl.paths import ROOT, LabPaths
from labctl.programs import process
from labctl.screen import Screen
from labctl.testing import containers, hostile, junit, vagrant
from labctl.testing.checks import Suite
from labctl.testing.cycle import Action, Cycle


class Trial(Cycle):
    """A cycle that notes what it does, and fails at a given step."""

    name = "trial"

    def __init__(self, folder: Path, fails: str = "") -> None:
        substrate = SimpleNamespace(inventory=folder)
        super().__init__(Context(LabPaths("x", folder), substrate, Screen()), folder)
        self.fails = fails
        self.seen: list[str] = []

    def note(self, step: str) -> None:
        self.seen.append(step)
        if step == self.fails:
            raise LabError(f"{step} went wrong.")

    def prepare(self) -> None:
        self.note("prepare")

    def make(self) -> None:
        self.note("make")

    def check(self) -> list[Suite]:
        self.note("check")
        return [Suite("verify", self.reports / "verify.xml", self.reports / "verify.log")]

    def uses(self) -> Iterable[tuple[str, Action]]:
        yield "it is used", lambda: self.note("use")

    def remove(self) -> None:
        self.note("remove")


@pytest.fixture
def changed(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Says how many things a second `up` changes."""

    def change(count: int) -> None:
        monkeypatch.setattr(up, "run", lambda *_, **__: up.Summary(changed={"site": count}))

    change(0)
    return change


def failed(folder: Path) -> dict[str, bool]:
    cases = ElementTree.parse(folder / "trial.xml").iter("testcase")
    return {str(case.get("name")): case.find("failure") is not None for case in cases}


def test_a_lab_is_made_checked_used_and_removed(tmp_path: Path, changed: object) -> None:
    cycle = Trial(tmp_path)
    assert cycle.run(keep=False) == [tmp_path / "trial.xml", tmp_path / "verify.xml"]
    assert cycle.seen == ["prepare", "make", "check", "use", "remove"]
    assert junit.totals([tmp_path / "trial.xml"]) == junit.Totals(passed=6)


def test_a_second_up_that_changes_something_fails(tmp_path: Path, changed: Callable[[int], None]) -> None:
    changed(2)
    Trial(tmp_path).run(keep=False)
    found = failed(tmp_path)
    assert found.pop("a second up changes nothing")
    assert not any(found.values())


def test_checks_that_cannot_run_end_nothing_else(tmp_path: Path, changed: object) -> None:
    cycle = Trial(tmp_path, fails="check")
    assert cycle.run(keep=False) == [tmp_path / "trial.xml"]
    assert cycle.seen == ["prepare", "make", "check", "use", "remove"]
    assert junit.totals([tmp_path / "trial.xml"]) == junit.Totals(passed=5, failed=1)


def test_what_could_not_be_made_is_removed_and_not_checked(tmp_path: Path, changed: object) -> None:
    cycle = Trial(tmp_path, fails="make")
    assert cycle.run(keep=False) == [tmp_path / "trial.xml"]
    assert cycle.seen == ["prepare", "make", "remove"]


def test_a_lab_of_another_user_is_left_alone(tmp_path: Path, changed: object) -> None:
    cycle = Trial(tmp_path, fails="prepare")
    cycle.run(keep=False)
    assert cycle.seen == ["prepare"]
    assert failed(tmp_path) == {"what it needs is there": True}


def test_a_kept_lab_is_left_running(
    tmp_path: Path, changed: object, capsys: pytest.CaptureFixture[str]
) -> None:
    cycle = Trial(tmp_path)
    cycle.run(keep=True)
    assert "remove" not in cycle.seen
    assert "Lab x is left running" in capsys.readouterr().out


def test_an_interrupt_removes_the_lab_and_leaves_a_report(tmp_path: Path, changed: object) -> None:
    cycle = Trial(tmp_path)

    def interrupted() -> list[Suite]:
        raise KeyboardInterrupt

    cycle.check = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        cycle.run(keep=False)
    assert cycle.seen[-1] == "remove"
    assert (tmp_path / "trial.xml").exists()


def test_the_lab_of_the_tests_has_the_examples_from_its_first_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cycle = containers.ContainerCycle(tmp_path, Screen())
    cycle.lab = Context(LabPaths("x", tmp_path), cycle.lab.substrate, Screen())
    found: list[object] = []
    asked: list[tuple[list[str], dict[str, str]]] = []
    node = SimpleNamespace(name="broker-1", exec_run=lambda words: SimpleNamespace(exit_code=0, output=words))
    monkeypatch.setattr(cycle.substrate, "containers", lambda: {"broker-1": node})

    def follow(words: list[str], _step: object, environment: dict[str, str]) -> process.Done:
        found.extend(added_applications(cycle.lab.paths.state / "applications.yml"))
        asked.append((words, environment))
        return process.Done(0, [])

    monkeypatch.setattr(process, "follow", follow)
    cycle.make()
    ((words, environment),) = asked
    assert words[-3:] == [str(ROOT / "lab"), "up", "--no-verify"]
    assert environment.items() >= hostile.ENVIRONMENT.items() | {("all_proxy", hostile.NOWHERE)}
    assert not {"HOME", "no_proxy", "NO_PROXY"} & environment.keys()
    mask = subprocess.check_output(hostile.command(["sh", "-c", "umask"]), text=True)
    assert mask.strip() == "0077"
    assert len(found) == 3
    assert cycle.lab.paths.state.stat().st_mode & 0o777 == 0o700


def test_vagrant_runs_from_a_copy_in_a_path_with_a_space_and_an_umlaut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "Räume und Zeit"
    for name, value in {
        "COPY": copy,
        "devtools": SimpleNamespace(ensure_vagrant=lambda _screen: None),
        "box": SimpleNamespace(ensure_images=lambda *_: None),
        "network": SimpleNamespace(free=lambda *_: "10.9.8.0/24"),
        "engine": SimpleNamespace(require=lambda: None),
    }.items():
        monkeypatch.setattr(vagrant, name, value)
    asked: list[list[str]] = []

    def follow(
        words: list[str], _step: object, *, environment: dict[str, str], cwd: Path, **_: object
    ) -> process.Done:
        assert (cwd, environment["ANSIBLE_CONFIG"]) == (copy, str(copy / "ansible.cfg"))
        assert Path(environment["VAGRANT_DOTFILE_PATH"]).is_relative_to(copy), "not that of this shell"
        asked.append(words)
        return process.Done(0, ["Lab x is up: changed=0, 3 s (nodes 1 s)."])

    monkeypatch.setattr(process, "follow", follow)
    cycle = vagrant.VagrantCycle(tmp_path, Screen())
    cycle.prepare()
    assert (copy / "lab").exists()
    assert not any((copy / name).exists() for name in (".git", ".lab", ".venv"))
    cycle.make()
    cycle._up_again()
    assert [[Path(words[0]).name, words[-1]] for words in asked] == [
        ["lab", "--version"],
        ["vagrant", "--no-provision"],
        ["vagrant", "provision"],
        ["lab", "--no-demo"],
    ]
    monkeypatch.setattr(process, "follow", lambda *_, **__: process.Done(0, ["Lab x is up: changed=2, 3 s"]))
    with pytest.raises(LabError, match="The second up changed something"):
        cycle._up_again()
