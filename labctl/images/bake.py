"""The images of nodes: the node image, and that of each kind with its install phase done (the bake)."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterable
from functools import partial

import docker
import docker.errors

from labctl.ansible import playbooks
from labctl.ansible.failures import registry_unreachable
from labctl.errors import LabError, UsageError
from labctl.images import keys
from labctl.lab import state
from labctl.lab.files import remove_state, write_private
from labctl.lab.lock import exclusive
from labctl.machine import network, root
from labctl.paths import ROOT, LabPaths
from labctl.programs import process, side_by_side
from labctl.screen import Screen, Step
from labctl.substrates import cleanup
from labctl.topology.model import Topology, groups_of

BAKE_LAB = "warren-bake"
# They are installed in one run: the application's wheel is built once for all of them.
_WITH_APPLICATION = frozenset({"gateways", "workers"})


def exists(client: docker.DockerClient, name: str) -> bool:
    """True when the engine has this image."""
    try:
        client.images.get(name)
    except docker.errors.ImageNotFound:
        return False
    return True


def ensure(
    paths: LabPaths, declared: Topology, kinds: Iterable[str], client: docker.DockerClient, screen: Screen
) -> None:
    """See that the images of these kinds exist; where one is missing, all missing ones are made together."""
    if all(exists(client, keys.image(kind)) for kind in kinds):
        return
    bake = LabPaths(BAKE_LAB, paths.root)
    with exclusive(bake, "bake", wait=True):
        missing = [kind for kind in declared.kinds if not exists(client, keys.image(kind))]
        if missing:
            _ensure_node_image(client, screen)
            _bake(bake, declared, missing, client, screen)
        remove_state(bake)


def _ensure_node_image(client: docker.DockerClient, screen: Screen) -> None:
    name = keys.node_image()
    if exists(client, name):
        return
    if not os.environ.get("LAB_BASE_IMAGE") and shutil.which("mmdebstrap") is None and root.is_debian_like():
        root.apt_install(["mmdebstrap", "debian-archive-keyring"], screen)
    with screen.step("make the node image") as step:
        done = process.follow([str(ROOT / "images" / "build-node-image"), name], step)
        if not done.ok:
            words = done.ending()
            if registry_unreachable(words):
                raise UsageError(
                    "A package registry could not be reached while the node image was made on this"
                    " machine; check"
                    f" network and proxy, then run ./lab up again: it continues.\n{words}"
                )
            raise UsageError(f"The node image could not be made:\n{words}")
        step.result = name
    _forget_older("warren-node", name, client)


def _bake(
    bake: LabPaths, declared: Topology, kinds: list[str], client: docker.DockerClient, screen: Screen
) -> None:
    """Install each of these kinds on one node of a lab of its own, and keep those nodes as images.

    That lab has a node of every kind, since roles look at other groups; where a kind's image exists, its
    node starts from that.
    """
    wanted = {kind: keys.image(kind) for kind in declared.kinds}
    variables = {
        "lab_images": wanted | {kind: keys.node_image() for kind in kinds},
        "lab_kept_images": wanted,
        "lab_bake_hosts": [declared.first(kind).name for kind in kinds],
    }
    _drop_other_bake(bake, wanted, client)
    state.write(bake, network.settle(bake, declared, client))

    def play(playbook: str, step: Step, *arguments: str) -> None:
        playbooks.run(
            bake,
            playbook,
            step,
            arguments=arguments,
            variables=variables,
            extra_environment={"LAB_BAKE": "1"},
        )

    def install(batch: list[str]) -> None:
        hosts = ":".join(declared.first(kind).name for kind in batch)
        with screen.step(f"install {', '.join(batch)} once") as step:
            play("site.yml", step, "--tags", "install", "--limit", hosts)

    with screen.step("make the nodes of the images") as step:
        play("substrate/create.yml", step)
    side_by_side.run([partial(install, batch) for batch in _batches(kinds)])
    with screen.step("keep the nodes as images") as step:
        play("substrate/commit.yml", step)
        play("substrate/destroy.yml", step)
        step.result = ", ".join(wanted[kind] for kind in kinds)
    lost = [name for name in wanted.values() if not exists(client, name)]
    if lost:
        raise LabError(
            f"The bake ended without {', '.join(lost)}; run ./lab up again, it makes what is missing."
        )
    for kind in kinds:
        _forget_older(f"warren-{kind}", wanted[kind], client)


def _batches(kinds: list[str]) -> list[list[str]]:
    """What can be installed side by side, the longest first."""
    together = [kind for kind in kinds if not _WITH_APPLICATION.isdisjoint(groups_of(kind))]
    return [*([together] if together else []), *([kind] for kind in kinds if kind not in together)]


def _drop_other_bake(bake: LabPaths, wanted: dict[str, str], client: docker.DockerClient) -> None:
    """An interrupted bake is continued, unless the recipe has changed: its nodes may hold what is gone."""
    note, text = bake.state / "wanted.json", json.dumps(wanted, sort_keys=True)
    if not note.exists() or note.read_text(encoding="utf-8") != text:
        cleanup.sweep(bake, client)
        write_private(note, text)


def _forget_older(repository: str, current: str, client: docker.DockerClient) -> None:
    """Remove images of earlier recipes; the engine keeps those that containers still use."""
    for image in client.images.list(name=repository):
        for tag in image.tags:
            if tag.startswith(f"{repository}:") and tag != current:
                with contextlib.suppress(docker.errors.APIError):
                    client.images.remove(tag)
