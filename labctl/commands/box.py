"""box: what `vagrant up` starts from, built on this machine: an image for containers, or a box for VMs."""

import contextlib
import shutil
import subprocess
from functools import partial
from pathlib import Path

import docker
import docker.errors

from labctl.errors import LabError
from labctl.images import bake, keys
from labctl.lab.lock import exclusive
from labctl.machine import engine
from labctl.paths import LabPaths
from labctl.programs import side_by_side
from labctl.screen import Screen
from labctl.topology import declaration

NAME = "warren"
IMAGE = "warren-vagrant"


def command(paths: LabPaths, provider: str, screen: Screen) -> int:
    """Build the image or box of a provider, unless it is up to date, and add the box to Vagrant."""
    if provider == "docker":
        ensure_images(paths, screen)
    else:
        _add(provider, ensure_box(paths, provider, screen), screen)
    screen.say(f"Next: vagrant up --provider={provider}")
    if shutil.which("vagrant") is None:
        screen.say("Vagrant itself is not installed; on Debian: apt-get install vagrant vagrant-libvirt")
    return 0


def ensure_images(paths: LabPaths, screen: Screen) -> None:
    """Build `warren-vagrant`, and `warren-vagrant:<kind>` with that kind installed, for the Vagrantfile."""
    with exclusive(LabPaths("cache", paths.root), "box build", wait=True):
        client = engine.ensure(paths, screen)
        declared = declaration.load(declaration.TOPOLOGY_FILE)
        bake.ensure(paths, declared, declared.kinds, client, screen)
        bake.ensure_node_image(client, screen)
        bases = {"latest": keys.node_image()} | {kind: keys.image(kind) for kind in declared.kinds}
        parts = [partial(_image, f"{IMAGE}:{tag}", base, client, screen) for tag, base in bases.items()]
        side_by_side.run(parts)


def _image(name: str, base: str, client: docker.DockerClient, screen: Screen) -> None:
    script = "build-vagrant-image"
    older = None
    with contextlib.suppress(docker.errors.ImageNotFound):
        older = client.images.get(name)
    if older is not None and older.labels.get("warren.key") == keys.recipe_key(script, base):
        screen.say(f"image {name} is up to date")
        return
    bake.build(script, [name, base], f"make image {name}", screen)
    if older is not None:
        with contextlib.suppress(docker.errors.APIError):  # nodes use it
            client.images.remove(str(older.id))


def ensure_box(paths: LabPaths, provider: str, screen: Screen) -> Path:
    """The box of a provider, built unless it is up to date."""
    with exclusive(LabPaths("cache", paths.root), "box build", wait=True):
        folder, script = paths.cache / "boxes", "build-box"
        file = folder / f"{NAME}-{provider}-{keys.recipe_key(script, provider)}.box"
        if file.exists():
            screen.say(f"box {file.name} is up to date")
            return file
        title = f"make the box for {provider}"
        bake.build(script, [provider, str(file)], title, screen, "mmdebstrap", "qemu-img")
        for older in folder.glob(f"{NAME}-{provider}-*.box*"):
            if older != file:
                older.unlink()
        return file


def _add(provider: str, file: Path, screen: Screen) -> None:
    words = ["vagrant", "box", "add", "--force", "--name", NAME, "--provider", provider, str(file)]
    if shutil.which("vagrant") is None:
        screen.say(f"When Vagrant is installed, run: {' '.join(words)}")
        return
    with screen.step("add the box to Vagrant") as step:
        done = subprocess.run(words, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            reason = (done.stderr or done.stdout).strip()
            raise LabError(
                f"Vagrant did not add the box: {reason}\nCorrect that, then run: {' '.join(words)}"
            )
        step.result = f"{NAME}, {provider}, {file.stat().st_size / 2**20:.0f} MB"
