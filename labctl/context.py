"""What every command starts from: the lab, its substrate, and a screen."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from labctl import ansible
from labctl.errors import UsageError
from labctl.paths import LabPaths, lab_paths
from labctl.screen import Screen
from labctl.substrates.base import Substrate


@dataclass(frozen=True)
class Context:
    """One command at work on one lab."""

    paths: LabPaths
    substrate: Substrate
    screen: Screen


def make(*, json: bool = False) -> Context:
    """Context for the lab of LAB_NAME, on the inventory of LAB_INVENTORY (default: Docker)."""
    paths = lab_paths()
    return Context(paths, _substrate(paths), Screen(json=json))


def _substrate(paths: LabPaths) -> Substrate:
    from labctl.substrates.containers import DockerSubstrate
    from labctl.substrates.hosts import HostSubstrate

    chosen = os.environ.get("LAB_INVENTORY", "")
    if not chosen or Path(chosen).resolve() == ansible.DOCKER_INVENTORY:
        return DockerSubstrate(paths)
    inventory = Path(chosen).resolve()
    if not inventory.exists():
        raise UsageError(f"Inventory {chosen} does not exist; give a folder like inventories/cloud.")
    return HostSubstrate(paths, inventory)
