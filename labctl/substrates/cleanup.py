"""Removing what a lab consists of, by its label, however far it had got.

python -m labctl.substrates.cleanup does that for the lab that LAB_NAME names, with its state.
"""

import contextlib
import sys
from dataclasses import dataclass

import docker
import docker.errors

from labctl.errors import LabError
from labctl.lab.files import remove_state
from labctl.paths import LabPaths, lab_paths


@dataclass
class Removed:
    """How many of each were removed."""

    containers: int = 0
    volumes: int = 0
    networks: int = 0

    def __str__(self) -> str:
        return f"{self.containers} containers, {self.volumes} volumes, {self.networks} networks"


def count(paths: LabPaths, client: docker.DockerClient) -> Removed:
    """What there is of the lab."""
    label = _label(paths)
    return Removed(
        containers=len(client.containers.list(all=True, filters=label)),
        volumes=len(client.volumes.list(filters=label)),
        networks=len(client.networks.list(filters=label)),
    )


def sweep(paths: LabPaths, client: docker.DockerClient) -> Removed:
    """Remove every container, volume and network that carries the lab's label."""
    removed, label = Removed(), _label(paths)
    for container in client.containers.list(all=True, filters=label):
        with contextlib.suppress(docker.errors.NotFound):
            container.remove(force=True, v=True)
            removed.containers += 1
    for volume in client.volumes.list(filters=label):
        with contextlib.suppress(docker.errors.NotFound):
            volume.remove(force=True)
            removed.volumes += 1
    for network in client.networks.list(filters=label):
        with contextlib.suppress(docker.errors.NotFound):
            network.remove()
            removed.networks += 1
    return removed


def _label(paths: LabPaths) -> dict[str, str | list[str] | bool]:
    return {"label": f"warren.lab={paths.name}"}


def main() -> None:
    """Remove the lab of LAB_NAME, and print how much that was."""
    from labctl.machine import engine

    try:
        paths = lab_paths()
        removed = sweep(paths, engine.require())
    except LabError as error:
        sys.exit(str(error))
    remove_state(paths)
    print(removed)


if __name__ == "__main__":
    main()
