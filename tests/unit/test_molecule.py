"""The scenarios of molecule/: which there are, and in which environment they run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from labctl.errors import UsageError
from labctl.paths import DEFAULT_LAB, ROOT
from labctl.testing import containers, molecule
from labctl.topology.declaration import load

BASE = Path(ROOT, ".config", "molecule", "config.yml")


def config(name: str) -> dict[str, Any]:
    """Content of a scenario's molecule.yml."""
    found: dict[str, Any] = yaml.safe_load(
        Path(ROOT, "molecule", name, "molecule.yml").read_text(encoding="utf-8")
    )
    return found


def test_default_comes_first_and_names_are_kept_once() -> None:
    assert molecule.scenarios()[0] == "default"
    assert molecule.chosen(["pki", "pki", "rabbitmq"]) == ["pki", "rabbitmq"]
    assert molecule.chosen([]) == molecule.scenarios()
    assert molecule.chosen(molecule.USUAL) == list(molecule.USUAL)


@pytest.mark.parametrize(
    ("name", "words"),
    [("rabit", "rabit is no scenario; there are default"), ("gateway", "gateway has no scenario of its own")],
)
def test_a_name_that_is_none_is_answered_with_the_known_ones(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        molecule.chosen([name])


def test_scenarios_have_a_lab_of_their_own() -> None:
    base = yaml.safe_load(BASE.read_text(encoding="utf-8"))
    assert base["ansible"]["env"]["LAB_NAME"] == f"${{LAB_MOLECULE:-{molecule.PLACES[0].lab}}}"
    labs = [place.lab for place in molecule.PLACES]
    networks = [f"{place.network}.0/24" for place in molecule.PLACES]
    assert len({DEFAULT_LAB, containers.LAB, *labs}) == 2 + len(labs)
    assert len({load().network, *networks}) == 1 + len(networks)


@pytest.mark.parametrize("name", molecule.scenarios())
def test_every_scenario_has_a_valid_topology_that_publishes_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = yaml.safe_load(BASE.read_text(encoding="utf-8"))
    settings = base["ansible"]["env"] | config(name).get("ansible", {}).get("env", {})
    monkeypatch.delenv("LAB_TOPOLOGY", raising=False)
    lab = load(ROOT / settings["LAB_TOPOLOGY"])
    assert lab.network == f"{molecule.PLACES[0].network}.0/24"
    assert not [node.name for node in lab.nodes if node.publish]


def test_nothing_of_the_shell_reaches_a_scenario(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOLECULE_ANSIBLE_ARGS_STRICT_MODE", "1")
    monkeypatch.setenv("LAB_TOPOLOGY", "other.yml")
    monkeypatch.setenv("LAB_NETWORK", "10.9.8")
    monkeypatch.setenv("ANSIBLE_SKIP_TAGS", "verify")
    for place in molecule.PLACES:
        environment = molecule.environment("pki", place)
        assert not {"MOLECULE_ANSIBLE_ARGS_STRICT_MODE", "LAB_TOPOLOGY"} & set(environment)
        assert (environment["LAB_MOLECULE"], environment["LAB_NETWORK"]) == (place.lab, place.network)
        assert "ANSIBLE_SKIP_TAGS" not in environment


@pytest.mark.parametrize("name", molecule.scenarios())
def test_no_step_of_a_scenario_is_skipped_for_want_of_a_playbook(name: str) -> None:
    """Molecule only warns of one; it also skips files of a step that has no playbook of its own."""
    base = yaml.safe_load(BASE.read_text(encoding="utf-8"))
    own: dict[str, Any] = config(name)
    named = base["ansible"]["playbooks"] | own.get("ansible", {}).get("playbooks", {})
    folder = ROOT / "molecule" / name
    for step in own.get("scenario", base["scenario"])["test_sequence"]:
        action, *files = step.split()
        if action in ("prepare", "side_effect"):
            assert (folder / named.get(action, f"{action}.yml")).is_file(), step
        assert all((folder / file).is_file() for file in files), step


def test_steps_are_timed_and_repeats_added_up() -> None:
    run = molecule.Run()
    said = [
        (0.0, "INFO     [pki > discovery] scenario test matrix: create, converge", ""),
        (1.0, "INFO     [pki > create] Executing", "create"),
        (2.0, "TASK [Create and start the nodes] *****", "create · Create and start the nodes"),
        (5.0, "INFO     [pki > create] Executed: Successful", ""),
        (5.0, "INFO     [pki > idempotence] Executing", "idempotence"),
        (8.0, "INFO     [pki > side_effect] Executing", "side_effect"),
        (
            9.0,
            "RUNNING HANDLER [base : Reload the firewall] ***",
            "side_effect · base : Reload the firewall",
        ),
        (10.0, "INFO     [pki > idempotence] Executing", "idempotence"),
    ]
    for now, line, subject in said:
        assert run.line(line, now) == subject
    run.end(14.0)
    assert run.steps == {"create": 4.0, "idempotence": 7.0, "side_effect": 2.0}
    assert run.longest() == "idempotence 7 s, create 4 s, side_effect 2 s"
