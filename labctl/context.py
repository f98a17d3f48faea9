"""What every command starts from: the lab, its substrate, and a screen."""

import os
from dataclasses import dataclass
from pathlib import Path

from labctl.errors import UsageError
from labctl.paths import DOCKER_INVENTORY, LabPaths, lab_paths
from labctl.screen import Screen
from labctl.substrates.base import Substrate


@dataclass(frozen=True)
class Context:
    """What one command works with."""

    paths: LabPaths
    substrate: Substrate
    screen: Screen


def no_lab(name: str) -> str:
    """What every command answers when there is no lab of that name."""
    return f"There is no lab {name}; ./lab up creates it, and ./lab list shows the labs of this machine."


def states(context: Context) -> dict[str, str]:
    """State of each node as the substrate reports it; UsageError when the lab has no node at all."""
    found = context.substrate.states()
    if found and set(found.values()) == {"missing"}:
        raise UsageError(no_lab(context.paths.name))
    return found


def make(*, json: bool = False, existing: bool = False) -> Context:
    """Context for the lab of LAB_NAME, on the inventory of LAB_INVENTORY (default: Docker).

    Without LAB_NAME, a lab on another inventory is named after that inventory's folder.
    `existing`: raise UsageError when ./lab has not created this lab, before anything is written.
    """
    from labctl.machine import engine
    from labctl.substrates.containers import DockerSubstrate
    from labctl.substrates.ssh import HostSubstrate

    chosen = os.environ.get("LAB_INVENTORY", "")
    inventory = Path(chosen).resolve()
    docker = not chosen or inventory == DOCKER_INVENTORY
    if not docker and not inventory.exists():
        raise UsageError(f"Inventory {chosen} does not exist; give a folder like inventories/cloud.")
    if not docker and not os.environ.get("LAB_NAME"):
        os.environ["LAB_NAME"] = (inventory if inventory.is_dir() else inventory.parent).name
    paths = lab_paths()
    if docker:
        engine.choose()
    substrate = DockerSubstrate(paths) if docker else HostSubstrate(paths, inventory)
    if existing and isinstance(substrate, DockerSubstrate) and not paths.lab_file.exists():
        raise UsageError(substrate.foreign() or no_lab(paths.name))
    return Context(paths, substrate, Screen(json=json))
