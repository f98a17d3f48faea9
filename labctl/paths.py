"""Folders of the project and of one lab."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from labctl.errors import UsageError

ROOT = Path(__file__).resolve().parent.parent
DOCKER_INVENTORY = ROOT / "inventories" / "docker"
DEFAULT_LAB = "warren"
_LAB_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
RESERVED = {"cache", "reports", "engine"}


@dataclass(frozen=True)
class LabPaths:
    """Where one lab keeps its state, below `.lab/` of the project."""

    name: str
    root: Path = ROOT

    @property
    def base(self) -> Path:
        return self.root / ".lab"

    @property
    def state(self) -> Path:
        return self.base / self.name

    @property
    def cache(self) -> Path:
        return self.base / "cache"

    @property
    def lab_file(self) -> Path:
        return self.state / "lab.json"

    @property
    def secrets(self) -> Path:
        return self.state / "secrets"

    @property
    def ca(self) -> Path:
        return self.state / "pki" / "ca.pem"


def lab_name_is_valid(name: str) -> bool:
    """True when the name can be part of a host name."""
    return bool(_LAB_NAME.fullmatch(name)) and len(name) <= 32


def lab_paths() -> LabPaths:
    """Paths of the lab that LAB_NAME names; raises UsageError when the name cannot be part of a host name."""
    name = os.environ.get("LAB_NAME") or DEFAULT_LAB
    if not lab_name_is_valid(name) or name in RESERVED:
        raise UsageError(
            f"LAB_NAME={name!r} is no usable name: take up to 32 lower-case letters, digits and single"
            f" hyphens, beginning with a letter, and none of {', '.join(sorted(RESERVED))}."
        )
    return LabPaths(name)
