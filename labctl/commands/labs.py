"""list: the labs of this machine."""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from docker.models.containers import Container
from rich.markup import escape

from labctl.errors import UsageError
from labctl.images.bake import BAKE_LAB
from labctl.lab import state
from labctl.machine import engine
from labctl.paths import RESERVED, ROOT, LabPaths, lab_name_is_valid
from labctl.screen import Screen


@dataclass(frozen=True)
class Lab:
    """A lab: its running nodes and all nodes (0 for hosts of an inventory); `state`: its folder."""

    name: str
    running: int
    nodes: int
    network: str
    console: str
    topology: str
    state: str


def command(screen: Screen) -> int:
    labs = found(LabPaths("", ROOT).base, _containers())
    if screen.json:
        print(json.dumps([asdict(lab) for lab in labs], indent=2))
        return 0
    if not labs:
        screen.say("There is no lab on this machine; ./lab up creates one.")
        return 0
    screen.table(
        [
            {
                "lab": lab.name,
                "nodes": f"{lab.running}/{lab.nodes} running" if lab.nodes else "of an inventory",
                "console": lab.console,
                "network": lab.network,
                "state": escape(lab.state),
            }
            for lab in labs
        ]
    )
    return 0


def found(base: Path, containers: dict[str, list[Container]]) -> list[Lab]:
    """The labs of this checkout, below `base`, and those of other checkouts by their containers."""
    folders = {
        folder.name: folder
        for folder in base.glob("*")
        if lab_name_is_valid(folder.name) and folder.name not in RESERVED and _is_lab(folder)
    }
    names = sorted({*folders, *containers} - {BAKE_LAB})
    return [_lab(name, folders.get(name), containers.get(name, [])) for name in names]


def _is_lab(folder: Path) -> bool:
    return (folder / "lab.json").exists() or (folder / "pki").is_dir()


def _lab(name: str, folder: Path | None, containers: list[Container]) -> Lab:
    known = None
    if folder is not None:
        with suppress(UsageError):  # damaged: the lab is still listed
            known = state.read(LabPaths(name, folder.parent.parent))
    ports = (ports for node in (known.published if known else {}).values() for ports in node.items())
    console = next((f"https://127.0.0.1:{host}" for node, host in ports if node == 443), "")
    owners = (str(item.labels.get("warren.state", "")) for item in containers)
    return Lab(
        name=name,
        running=sum(item.status == "running" for item in containers),
        nodes=len(containers),
        network=known.network if known else "",
        console=console,
        topology=known.topology if known else "",
        state=str(folder) if folder else next(filter(None, owners), ""),
    )


def _containers() -> dict[str, list[Container]]:
    """Containers of every lab by its name; none when no engine answers."""
    result: dict[str, list[Container]] = {}
    with suppress(UsageError):
        client = engine.require()
        for item in client.containers.list(all=True, filters={"label": "warren.lab"}, ignore_removed=True):
            result.setdefault(item.labels["warren.lab"], []).append(item)
    return result
