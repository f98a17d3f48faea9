"""Removes what belongs to a lab by its label, also when its creation was interrupted.

python -m labctl.substrates.cleanup does that for the lab that LAB_NAME names, with its state.
"""

import contextlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import docker
import docker.errors
from docker.models.containers import Container

from labctl.errors import LabError
from labctl.lab.files import remove_state
from labctl.paths import LabPaths, lab_paths
from labctl.programs import side_by_side

STOP_S = 90  # for a node that was not drained: its workers have 60 s


@dataclass
class Removed:
    """How many of each there are."""

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


def sweep(paths: LabPaths, client: docker.DockerClient) -> None:
    """Remove every container, volume and network that carries the lab's label."""
    label = _label(paths)
    for container in client.containers.list(all=True, filters=label):
        with contextlib.suppress(docker.errors.NotFound):
            container.remove(force=True, v=True)
    for volume in client.volumes.list(filters=label):
        with contextlib.suppress(docker.errors.NotFound):
            volume.remove(force=True)
    for network in client.networks.list(filters=label):
        with contextlib.suppress(docker.errors.NotFound):
            network.remove()


def remove(paths: LabPaths, client: docker.DockerClient, nodes: Iterable[Container]) -> None:
    """Shut these nodes of the lab down like servers, and remove them with their volumes."""

    def one(node: Container) -> None:
        with contextlib.suppress(docker.errors.NotFound):
            node.stop(timeout=STOP_S)
            node.remove(force=True, v=True)
        for volume in client.volumes.list(filters=_label(paths) | {"name": f"{node.name}-data"}):
            if volume.name == f"{node.name}-data":
                volume.remove(force=True)

    work = [partial(one, node) for node in nodes]
    side_by_side.run(work, at_once=len(work))


def _label(paths: LabPaths) -> dict[str, str | list[str] | bool]:
    return {"label": f"warren.lab={paths.name}"}


def main() -> None:
    """Remove the lab of LAB_NAME, and print how much that was."""
    from labctl.machine import engine

    try:
        paths, client = lab_paths(), engine.require()
        print(count(paths, client))
        sweep(paths, client)
    except LabError as error:
        sys.exit(str(error))
    remove_state(paths)


if __name__ == "__main__":
    main()
