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
from labctl.machine import network, root, speed
from labctl.paths import ROOT, LabPaths
from labctl.programs import process, side_by_side
from labctl.screen import Screen, Step
from labctl.substrates import cleanup
from labctl.topology.model import Topology, groups_of

BAKE_LAB = "warren-bake"
# They are installed in one run: the application's wheel is built once for all of them.
_WITH_APPLICATION = frozenset({"gateways", "workers"})
# Programs that scripts of images/ run, and their Debian packages.
_PACKAGES = {"mmdebstrap": ("mmdebstrap", "debian-archive-keyring"), "qemu-img": ("qemu-utils",)}


def exists(client: docker.DockerClient, name: str) -> bool:
    """True when the engine has this image."""
    try:
        client.images.get(name)
    except docker.errors.ImageNotFound:
        return False
    return True


def build(script: str, arguments: Iterable[str], title: str, screen: Screen, *needed: str) -> None:
    """Run a script of images/ with the programs that it needs. Raises UsageError."""
    missing = [name for program in needed if shutil.which(program) is None for name in _PACKAGES[program]]
    if missing and root.is_debian_like():
        root.apt_install(missing, screen)
    with screen.step(title) as step:
        done = process.follow([str(ROOT / "images" / script), *arguments], step)
        if not done.ok:
            cause = f"images/{script} failed; correct the cause"
            if registry_unreachable(done.ending()):
                cause = "a package registry could not be reached; check network and proxy"
            raise UsageError(f"Cannot {title}: {cause}, then run the command again.\n{done.ending()}")
        step.result = done.lines[-1] if done.lines else ""


def ensure_node_image(client: docker.DockerClient, screen: Screen) -> None:
    """Build the image that every other one begins with, unless it exists."""
    name = keys.node_image()
    if not exists(client, name):
        needed = () if os.environ.get("LAB_BASE_IMAGE") else ("mmdebstrap",)
        build("build-node-image", [name], "make the node image", screen, *needed)
        _forget_older("warren-node", name, client)


def ensure(
    paths: LabPaths, declared: Topology, kinds: Iterable[str], client: docker.DockerClient, screen: Screen
) -> None:
    """Build the images of these kinds unless they exist; when one is missing, all missing ones are built."""
    if all(exists(client, keys.image(kind)) for kind in kinds):
        return
    bake = LabPaths(BAKE_LAB, paths.root)
    with exclusive(bake, "bake", wait=True):
        missing = [kind for kind in declared.kinds if not exists(client, keys.image(kind))]
        if missing:
            ensure_node_image(client, screen)
            _bake(bake, declared, missing, client, screen)
        remove_state(bake)


def _bake(
    bake: LabPaths, declared: Topology, kinds: list[str], client: docker.DockerClient, screen: Screen
) -> None:
    """Install each of these kinds on one node of a lab of its own, and commit those nodes as images.

    That lab has a node of every kind, since roles read the variables of other groups; where a kind's image
    exists, its node starts from that.
    """
    wanted = {kind: keys.image(kind) for kind in declared.kinds}
    variables = {
        "lab_images": wanted | {kind: keys.node_image() for kind in kinds},
        "lab_kept_images": wanted,
        "lab_bake_hosts": [declared.first(kind).name for kind in kinds],
    }
    _drop_other_bake(bake, wanted, client)
    state.write(bake, network.settle(bake, declared, client))
    speed.measured(bake.state)

    def play(name: str, step: Step, *arguments: str) -> None:
        environment = {"LAB_BAKE": "1"}
        playbooks.run(
            bake, name, step, arguments=arguments, variables=variables, extra_environment=environment
        )

    def install(batch: list[str]) -> None:
        hosts = ":".join(declared.first(kind).name for kind in batch)
        with screen.step(f"install {', '.join(batch)} once") as step:
            play("site.yml", step, "--tags", "install", "--limit", hosts)

    with screen.step("make the nodes of the images") as step:
        play("substrate/create.yml", step)
    together = [kind for kind in kinds if not _WITH_APPLICATION.isdisjoint(groups_of(kind))]
    batches = [together] if together else []  # the longest first
    batches += [[kind] for kind in kinds if kind not in together]
    side_by_side.run([partial(install, batch) for batch in batches])
    with screen.step("keep the nodes as images") as step:
        play("substrate/commit.yml", step)
        play("substrate/destroy.yml", step)
        step.result = ", ".join(wanted[kind] for kind in kinds)
    lost = [name for name in wanted.values() if not exists(client, name)]
    if lost:
        raise LabError(f"The bake ended without {', '.join(lost)}; run ./lab up again, which builds them.")
    for kind in kinds:
        _forget_older(f"warren-{kind}", wanted[kind], client)


def _drop_other_bake(bake: LabPaths, wanted: dict[str, str], client: docker.DockerClient) -> None:
    """Remove the nodes of an interrupted bake, unless its recipes are the present ones."""
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
