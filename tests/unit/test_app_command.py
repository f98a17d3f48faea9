"""./lab app and ./lab connect: what they write, what they ask, and what they refuse. No lab."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import pytest

from labctl.applications import deploy, entries
from labctl.applications.declaration import Wanted
from labctl.commands import app, connect
from labctl.context import Context
from labctl.errors import LabError, UsageError
from labctl.lab import state
from labctl.paths import DOCKER_INVENTORY, ROOT, LabPaths
from labctl.screen import Screen
from labctl.status import nodes
from labctl.substrates.base import Substrate

# The second Python of the unit tests has no Celery.
PYTHON = Path(sys.executable) if find_spec("celery") else ROOT / ".venv" / "bin" / "python"
SHOP = """
from celery import Celery
app = Celery("shop")

@app.task
def sell():
    return 1
"""
ENTRY: dict[str, Any] = {
    "name": "shop",
    "source": "/srv/shop",
    "app": "shop:app",
    "workers": [{"name": "default", "queues": ["celery", "slow jobs"], "concurrency": 2}],
    "environment": {"URL": "{database_url}"},
}


@dataclass
class Nodes:
    """A substrate with one node of each group."""

    inventory: Path = DOCKER_INVENTORY
    installed: bool = True
    found: dict[str, str] = field(default_factory=lambda: {"worker-1": "running", "gateway-1": "running"})

    def states(self) -> dict[str, str]:
        return self.found

    def is_installed(self) -> bool:
        return self.installed

    def groups(self) -> dict[str, list[str]]:
        return {f"{kind}s": [f"{kind}-1"] for kind in ("broker", "worker", "gateway", "database", "monitor")}

    def shell(self, node: str, command: list[str], *, terminal: bool = False) -> list[str]:  # noqa: ARG002
        return ["ssh", "-p", "22", f"admin@{node}", *command]


@dataclass
class Lab:
    """A lab without nodes: what the commands did to them, in order; `problems` of its status."""

    context: Context
    nodes: Nodes
    folder: Path
    did: list[str] = field(default_factory=list)
    problems: list[dict[str, str]] = field(default_factory=list)

    @property
    def file(self) -> Path:
        return entries.file_of(self.context.paths)

    def add(self, **wanted: Any) -> int:
        return app.add(self.context, self.folder, Wanted(python=PYTHON, **wanted), confirmed=True)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A healthy lab, and an application in a folder."""
    paths, substrate = LabPaths("trial", tmp_path / "project"), Nodes()
    context = Context(paths, cast("Substrate", substrate), Screen())
    state.write(paths, state.LabState("trial", "10.0.0.0/24"))
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "requirements.txt").write_text("celery\n")
    (folder / "shop.py").write_text(SHOP)
    made = Lab(context, substrate, folder)

    def add(_context: Context, applications: list[dict[str, Any]]) -> None:
        made.did.append(" ".join(["add", *(entry["name"] for entry in applications)]))

    def delete(_context: Context, name: str, rest: list[dict[str, Any]]) -> None:
        made.did.append(" ".join(["delete", name, *(entry["name"] for entry in rest)]))

    def first_task(_context: Context, _entry: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"queue": "celery", "worker": "default@worker-1", "seconds": 0.1}]

    monkeypatch.setattr(deploy, "add", add)
    monkeypatch.setattr(deploy, "release", lambda _context, name: made.did.append(f"release {name}"))
    monkeypatch.setattr(deploy, "delete", delete)
    monkeypatch.setattr(deploy, "connection", lambda _context, title: made.did.append(title.split()[0]))
    monkeypatch.setattr(deploy, "first_task", first_task)
    monkeypatch.setattr(deploy, "failure_of_units", lambda _context, _name: "worker-1: KeyError: 'x'")
    monkeypatch.setattr(nodes, "read", lambda _context: {"problems": made.problems})
    return made


def test_a_new_application_is_declared_and_an_edit_deploys_its_release(lab: Lab) -> None:
    assert lab.add() == 0
    assert lab.did == ["add shop"]
    assert lab.file.stat().st_mode & 0o777 == 0o600
    lab.did.clear()
    before = lab.file.read_text()
    assert lab.add() == 0
    assert (lab.did, lab.file.read_text()) == (["release shop"], before)
    lab.nodes.installed = False  # ./lab has newer roles than the nodes
    lab.add()
    assert lab.did == ["release shop", "add shop"]


def test_what_the_user_changed_in_the_declaration_is_kept_and_applied(lab: Lab) -> None:
    lab.add()
    edited = "# mine\n" + lab.file.read_text().replace("concurrency: 2", "concurrency: 7")
    lab.file.write_text(edited)
    lab.did.clear()
    lab.add()
    assert (lab.did, lab.file.read_text()) == (["add shop"], edited)


def test_an_interrupted_first_deployment_is_finished_by_the_next(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:

        def fail(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        broken.setattr(deploy, "add", fail)
        with pytest.raises(KeyboardInterrupt):
            lab.add()
    assert lab.add() == 0
    assert lab.did == ["add shop"]
    assert [entry["name"] for entry in entries.read(lab.context.paths)] == ["shop"]


def test_an_application_that_could_not_be_deployed_does_not_prevent_another(lab: Lab) -> None:
    lab.add()
    paths = lab.context.paths
    entries.add(paths, {**entries.read(paths)[0], "name": "broken", "source": "/absent"})
    other = lab.folder.with_name("other")
    shutil.copytree(lab.folder, other)
    lab.did.clear()
    assert app.add(lab.context, other, Wanted(python=PYTHON), confirmed=True) == 0
    app.remove(lab.context, "other", confirmed=True)
    assert lab.did == ["add shop other", "delete other shop"]
    entries.remember_deployed(paths, entries.read(paths))  # by a later ./lab up
    app.remove(lab.context, "shop", confirmed=True)
    assert lab.did[2:] == ["delete shop broken"]


def test_a_failed_deployment_names_the_error_of_the_application(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise LabError("playbooks/site.yml failed")

    monkeypatch.setattr(deploy, "add", fail)
    with pytest.raises(LabError, match="not deployed; correct the error and run the same command") as error:
        lab.add()
    assert "worker-1: KeyError: 'x'" in str(error.value)
    assert "./lab app remove shop" in str(error.value)


def refuse_stopped(lab: Lab) -> None:
    lab.nodes.found["worker-1"] = "stopped"


def refuse_absent(lab: Lab) -> None:
    lab.nodes.found = {"worker-1": "missing"}


def refuse_unhealthy(lab: Lab) -> None:
    lab.problems += [
        {"condition": "WorkersNotConsuming", "sentence": "The workers on worker-1 do not consume."},
        {"condition": "UnitNotActive", "sentence": "rabbitmq-server on broker-1 is failed."},
    ]


def refuse_own_inventory(lab: Lab) -> None:
    lab.nodes.inventory = Path("/srv/inventory")


def refuse_no_folder(lab: Lab) -> None:
    lab.folder = lab.folder / "absent"


def refuse_import(lab: Lab) -> None:
    (lab.folder / "shop.py").write_text("from celery import Celery\nabsent\n")


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (refuse_stopped, "The lab is not complete, worker-1 is not there: run ./lab up"),
        (refuse_absent, "There is no lab trial; ./lab up creates it"),
        (refuse_unhealthy, "The lab is not healthy: rabbitmq-server on broker-1 is failed. Run ./lab up"),
        (refuse_own_inventory, "your own inventory are in its variable lab_added_applications: change them"),
        (refuse_no_folder, "There is no folder .*absent: give the folder"),
        (refuse_import, "cannot be imported, NameError: .*: correct the error"),
    ],
)
def test_nothing_is_written_when_an_application_is_refused(lab: Lab, prepare: Any, words: str) -> None:
    prepare(lab)
    with pytest.raises(UsageError, match=words):
        lab.add()
    assert (lab.file.exists(), lab.did) == (False, [])


def test_a_broken_edit_is_not_deployed(lab: Lab) -> None:
    lab.add()
    lab.did.clear()
    refuse_import(lab)
    with pytest.raises(UsageError, match="cannot be imported, NameError"):
        lab.add()
    assert lab.did == []


def test_an_entry_of_another_source_or_with_other_options_is_refused(lab: Lab) -> None:
    lab.add()
    with pytest.raises(UsageError, match=r"shop is declared already: change its entry in \S+, then run"):
        lab.add(queues=("more",))
    lab.folder.rename(lab.folder.with_name("other"))
    lab.folder = lab.folder.with_name("other")
    with pytest.raises(UsageError, match=r"has an application shop already, from .*: choose another name"):
        lab.add(name="shop")
    with pytest.raises(UsageError, match="There is no interpreter /absent: give"):
        app.add(lab.context, lab.folder, Wanted(python=Path("/absent")), confirmed=True)


def test_a_removal_asks_and_deletes_the_declaration_last(
    lab: Lab, capsys: pytest.CaptureFixture[str]
) -> None:
    lab.add()
    paths = lab.context.paths
    paths.secrets.mkdir()
    (paths.secrets / "broker_shop").write_text("x")
    lab.did.clear()
    with pytest.raises(UsageError, match="Nothing was deleted, because nobody can be asked here: give --yes"):
        app.remove(lab.context, "shop", confirmed=False)
    shown = capsys.readouterr().out
    for part in ("units shop-*", "/opt/shop", "vhost shop", "messages", "database shop"):
        assert part in shown
    assert lab.did == []
    assert app.remove(lab.context, "shop", confirmed=True) == 0
    assert lab.did == ["delete shop"]
    assert entries.read(paths) == []
    assert not (paths.secrets / "broker_shop").exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mosaic", "mosaic is the lab's own application; name one that ./lab app add has added"),
        ("absent", "The lab has no application 'absent'; there are: none; ./lab app add FOLDER adds one"),
    ],
)
def test_only_an_added_application_is_removed_connected_or_shown(lab: Lab, name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        app.remove(lab.context, name, confirmed=True)
    with pytest.raises(UsageError, match=words):
        app.logs(lab.context, name, lines=1, since="", follow=False)
    with pytest.raises(UsageError, match=words):
        connect.command(lab.context, name, off=False)


def test_the_text_of_the_file_is_kept(tmp_path: Path) -> None:
    paths = LabPaths("trial", tmp_path)
    entries.add(paths, ENTRY)
    file = entries.file_of(paths)
    file.write_text(f"# mine\n{file.read_text()}\n# below\n")
    entries.add(paths, {**ENTRY, "name": "other"})
    assert file.read_text().startswith("# mine\n- name: shop\n")
    entries.remove(paths, "shop")
    assert file.read_text().startswith("# mine\n- name: other\n")
    assert [entry["name"] for entry in entries.read(paths)] == ["other"]
    entries.remove(paths, "other")
    assert entries.read(paths) == []


def test_the_environment_of_a_connection_verifies_the_certificates(tmp_path: Path) -> None:
    paths = LabPaths("trial", tmp_path)
    (paths.state / "pki").mkdir(parents=True)
    paths.ca.write_text("CA of the lab\n")
    paths.secrets.mkdir()
    for kind in ("broker", "database"):
        (paths.secrets / f"{kind}_shop").write_text(f"{kind}/1\n")
    found = connect.variables(paths, "shop", {connect.AMQPS: 8671, connect.DATABASE: 8432})
    assert found["CELERY_BROKER_URL"] == "amqps://shop:broker%2F1@127.0.0.1:8671/shop"
    assert found["CELERY_RESULT_BACKEND"].startswith(
        "db+postgresql+psycopg://shop:database%2F1@localhost:8432/shop?sslmode=verify-full&sslrootcert="
    )
    assert found["DATABASE_URL"].startswith(
        "postgresql://shop:database%2F1@localhost:8432/shop?sslmode=verify"
    )
    assert Path(found["SSL_CERT_FILE"]).read_text().endswith("CA of the lab\n")


def test_a_connection_to_nodes_that_ssh_reaches_is_refused_with_the_command(lab: Lab) -> None:
    entries.add(lab.context.paths, ENTRY)
    lab.nodes.inventory = Path("/srv/inventory")
    with pytest.raises(
        UsageError, match=r"ssh -N -L 8671:broker-1:5671 -L 8432:database-1:5432 -p 22 admin@g"
    ):
        connect.command(lab.context, "shop", off=False)
    with pytest.raises(UsageError, match="Give the name of an application"):
        connect.command(lab.context, "", off=False)


def test_a_removal_and_off_close_the_connection(lab: Lab) -> None:
    paths = lab.context.paths
    known = state.read(paths)
    assert known is not None
    known.connected = True
    state.write(paths, known)
    assert json.loads(paths.lab_file.read_text())["connected"] is True
    assert connect.command(lab.context, "", off=True) == 0
    assert lab.did == ["close"]
    assert "connected" not in json.loads(paths.lab_file.read_text())
    state.write(paths, known)
    lab.add()
    app.remove(lab.context, "shop", confirmed=True)
    assert not state.is_connected(paths)
