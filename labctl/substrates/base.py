"""What every substrate offers to the commands."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Protocol

from labctl.screen import Screen


@dataclass(frozen=True)
class Made:
    """Result of `make`: how many things changed, and how many hosts there are."""

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
        """Create and start every host that is missing or stopped. Raises UsageError or LabError."""

    def is_installed(self) -> bool:
        """True when the install phase was done on every host with the present roles."""

    def remember_installed(self) -> None:
        """Note that site.yml has passed on every host."""

    def states(self) -> dict[str, str]:
        """State of each host ("running", "stopped", "missing"); empty where the substrate does not know."""

    def shell(self, node: str, command: list[str], *, terminal: bool = False) -> list[str]:
        """Command line that runs a command, or a login shell, on a node; UsageError for an unknown one.

        `terminal`: for a person at a terminal.
        """

    def power_off(self, node: str) -> None:
        """Stop a node without notice: no process ends in order, no connection is closed. Raises LabError."""

    def power_on(self, node: str) -> None:
        """Boot the node again; returns when that has begun. Raises LabError."""

    def patience(self) -> float:
        """How many times longer than usual the hosts may take."""
