"""What every substrate offers to the commands."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Protocol

from labctl.screen import Screen


@dataclass(frozen=True)
class Made:
    """Result of making the hosts: how many things changed."""

    changed: int
    hosts: int


def distinct(groups: Mapping[str, list[str]]) -> list[str]:
    """Every host once, in group order: groups may share hosts."""
    return list(dict.fromkeys(chain.from_iterable(groups.values())))


class Substrate(Protocol):
    """Hosts of one kind: containers, VMs, cloud machines."""

    @property
    def inventory(self) -> Path:
        """Ansible inventory of the hosts."""

    def groups(self) -> dict[str, list[str]]:
        """Host names of each group, in the order of labctl.topology.model.GROUPS."""

    def url(self) -> str:
        """Address of the console, "" when it has none."""

    def console_password(self) -> str:
        """Password of the console's user; UsageError when there is none yet."""

    def make(self, screen: Screen) -> Made:
        """See that every host exists and runs. Raises UsageError or LabError."""

    def is_installed(self) -> bool:
        """True when the install phase was done on every host with the present roles."""

    def remember_installed(self) -> None:
        """Note that site.yml has passed on every host."""

    def states(self) -> dict[str, str]:
        """State of each host as the substrate tells it ("running", "stopped", "missing"); maybe none."""

    def shell(self, node: str, command: list[str], *, terminal: bool = False) -> list[str]:
        """Command line that runs a command, or a login shell, on a node; UsageError for an unknown one.

        With `terminal` it is for a person at a terminal.
        """

    def power_off(self, node: str) -> None:
        """Take a node's power away: no process ends in order, and no peer hears of it. Raises LabError."""

    def power_on(self, node: str) -> None:
        """Give it back; the node boots. Returns when that has begun. Raises LabError."""

    def patience(self) -> float:
        """How many times longer than usual the hosts may take for things."""
