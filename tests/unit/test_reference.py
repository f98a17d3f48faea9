"""The generated pages are in step with what they describe, and their written parts are right."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from labctl.docs import pages, reference, roles
from labctl.errors import UsageError
from labctl.paths import ROOT
from labctl.topology import declaration

#: app/tests compares this one, since it needs the application's packages.
QUEUES = "docs/reference/queues.md"
PLAY = re.compile(r"^## Example\n\n```yaml\n(.+?)```\n", re.MULTILINE | re.DOTALL)


def written(path: str) -> str:
    """The part of a page that a person writes."""
    return (ROOT / path).read_text(encoding="utf-8").partition(pages.MARKER)[0]


@pytest.mark.parametrize("path", [path for path in pages.PAGES if path != QUEUES])
def test_a_page_is_what_the_generator_writes(path: str) -> None:
    assert (ROOT / path).read_text(encoding="utf-8") == pages.complete(path), (
        "run .venv/bin/python -m labctl.docs"
    )


def test_every_role_and_every_reference_page_is_generated() -> None:
    found = [*ROOT.glob("docs/reference/*.md"), *ROOT.glob("roles/*/README.md")]
    assert {file.relative_to(ROOT).as_posix() for file in found} == {
        *pages.PAGES,
        "docs/reference/machines.md",
    }
    assert {path.name for path in (ROOT / "roles").iterdir()} == set(roles.NAMES)


def test_the_written_part_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    monkeypatch.setattr(pages, "PAGES", {"a.md": lambda: "new"})
    with pytest.raises(UsageError, match=r"a\.md has no written part"):
        pages.complete("a.md")
    (tmp_path / "a.md").write_text(f"# A\n\nMine.\n\n{pages.MARKER}\nold\n", encoding="utf-8")
    assert pages.complete("a.md") == f"# A\n\nMine.\n\n{pages.MARKER}\nnew\n"


@pytest.mark.parametrize("role", roles.NAMES)
def test_the_example_of_a_role_is_a_play_that_it_accepts(role: str) -> None:
    text = written(f"roles/{role}/README.md")
    found = PLAY.search(text)
    assert found, "no example"
    assert len(text[: found.start()].split()) > 30, "the role is not described"
    (play,) = yaml.safe_load(found[1])
    assert play["roles"][-1] == role
    options = {name: option for used in play["roles"] for name, option in roles.spec(used)["options"].items()}
    given: dict[str, Any] = play.get("vars", {})
    assert set(given) <= set(options)
    assert [n for n in roles.spec(role)["options"] if options[n].get("required") and n not in given] == []


def test_every_port_of_the_firewall_has_a_listener() -> None:
    settings = yaml.safe_load((ROOT / "playbooks" / "group_vars" / "all.yml").read_text())
    opened = {p for services in settings["lab_services"].values() for s in services for p in s["ports"]}
    assert opened == set(reference.LISTENERS)


def test_the_keys_of_the_topology_are_those_that_it_accepts() -> None:
    keys = set(
        re.findall(r"^\| `(\w+)` \| [a-z]", reference.topology().partition("## Groups")[0], re.MULTILINE)
    )
    assert keys == declaration._GROUP_KEYS | {"network", "share"}


def test_addresses_of_a_port_follow_the_expressions_of_the_firewall() -> None:
    rows = [line.split(" | ") for line in reference.ports().splitlines()]
    by_port = {(row[0].strip("| "), row[1]): row[3].removesuffix(" |") for row in rows if len(row) == 4}
    assert by_port["5432", "`databases`"] == "`workers`, `gateways`, `monitors`"
    assert by_port["25672", "`brokers`"] == "`brokers`"
    assert by_port["443", "`gateways`"] == "everybody who reaches the node"


def test_variables_of_the_environment_are_those_that_exist() -> None:
    programs = [ROOT / "images" / "build-node-image", *ROOT.glob("labctl/**/*.py")]
    known = "\n".join(file.read_text(encoding="utf-8") for file in programs)
    named = set(re.findall(r"`(LAB_[A-Z_]+)`", written("docs/reference/commands.md")))
    assert named
    assert [name for name in named if name not in known] == []
