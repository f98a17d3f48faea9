"""box: what `vagrant up` starts from, made on this machine: an image for containers, or a box for VMs."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import docker
import docker.errors

from labctl.ansible.failures import registry_unreachable
from labctl.errors import LabError, UsageError
from labctl.images import bake, keys
from labctl.lab.lock import exclusive
from labctl.machine import engine, root
from labctl.paths import ROOT, LabPaths
from labctl.programs import process, side_by_side
from labctl.screen import Screen
from labctl.topology import declaration

PROVIDERS = ("docker", "libvirt", "virtualbox")
NAME = "warren"
IMAGE = "warren-vagrant"

_IMAGE_BUILDER = ROOT / "images" / "build-vagrant-image"
_BOX_BUILDER = ROOT / "images" / "build-box"
# Programs that build-box runs, and their Debian packages.
_NEEDED = {"mmdebstrap": ("mmdebstrap", "debian-archive-keyring"), "qemu-img": ("qemu-utils",)}


def command(paths: LabPaths, provider: str, screen: Screen) -> int:
    """Make the image or box of a provider, unless it is up to date, and tell Vagrant of it."""
    with exclusive(LabPaths("cache", paths.root), "box build", wait=True):
        if provider == "docker":
            ensure_images(paths, screen)
        else:
            _add(provider, _box(paths, provider, screen), screen)
    screen.say(f"Next: vagrant up --provider={provider}")
    if shutil.which("vagrant") is None:
        screen.say("Vagrant itself is not installed; on Debian: apt-get install vagrant vagrant-libvirt")
    return 0


def ensure_box(paths: LabPaths, provider: str, screen: Screen) -> Path:
    """The box of a provider, made unless it is up to date."""
    with exclusive(LabPaths("cache", paths.root), "box build", wait=True):
        return _box(paths, provider, screen)


def ensure_images(paths: LabPaths, screen: Screen) -> None:
    """Make `warren-vagrant`, and `warren-vagrant:<group>` with that group installed, for the Vagrantfile."""
    client = engine.ensure(paths, screen)
    declared = declaration.load(declaration.TOPOLOGY_FILE)
    bake.ensure(paths, declared, declared.kinds, client, screen)
    bases = {"latest": keys.node_image()} | {kind: keys.image(kind) for kind in declared.kinds}
    if not bake.exists(client, bases["latest"]):
        _install(["mmdebstrap"], screen)
    side_by_side.run([partial(_image, f"{IMAGE}:{tag}", base, client, screen) for tag, base in bases.items()])


def _image(name: str, base: str, client: docker.DockerClient, screen: Screen) -> None:
    older = None
    with contextlib.suppress(docker.errors.ImageNotFound):
        older = client.images.get(name)
    if older is not None and older.labels.get("warren.key") == _key(_IMAGE_BUILDER, base):
        screen.say(f"image {name} is up to date")
        return
    _build([str(_IMAGE_BUILDER), name, base], f"make image {name}", screen)
    if older is not None:
        with contextlib.suppress(docker.errors.APIError):  # nodes use it
            client.images.remove(str(older.id))


def _box(paths: LabPaths, provider: str, screen: Screen) -> Path:
    folder = paths.cache / "boxes"
    file = folder / f"{NAME}-{provider}-{_key(_BOX_BUILDER, provider)}.box"
    if file.exists():
        screen.say(f"box {file.name} is up to date")
        return file
    _install(_NEEDED, screen)
    _build([str(_BOX_BUILDER), provider, str(file)], f"make the box for {provider}", screen)
    for older in folder.glob(f"{NAME}-{provider}-*.box*"):
        if older != file:
            older.unlink()
    return file


def _add(provider: str, file: Path, screen: Screen) -> None:
    words = ["vagrant", "box", "add", "--force", "--name", NAME, "--provider", provider, str(file)]
    if shutil.which("vagrant") is None:
        screen.say(f"When Vagrant is installed, run: {' '.join(words)}")
        return
    with screen.step("give the box to Vagrant") as step:
        done = subprocess.run(words, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            told = (done.stderr or done.stdout).strip()
            raise LabError(f"Vagrant did not take the box: {told}\nCorrect that, then run: {' '.join(words)}")
        step.result = f"{NAME}, {provider}, {file.stat().st_size / 2**20:.0f} MB"


def _install(programs: Iterable[str], screen: Screen) -> None:
    missing = [name for program in programs if shutil.which(program) is None for name in _NEEDED[program]]
    if missing and root.is_debian_like():
        root.apt_install(missing, screen)


def _build(words: list[str], title: str, screen: Screen) -> None:
    with screen.step(title) as step:
        done = process.follow(words, step)
        if not done.ok:
            told = done.ending()
            if registry_unreachable(told):
                raise UsageError(f"A package registry could not be reached; check network and proxy.\n{told}")
            raise UsageError(f"It could not be made:\n{told}")
        step.result = done.lines[-1] if done.lines else ""


def _key(builder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [str(builder), "--key", *arguments], check=False, capture_output=True, text=True, cwd=ROOT
    )
    if done.returncode != 0:
        raise UsageError(f"{builder.name} --key failed: {done.stderr.strip()}; restore images/ from git.")
    return done.stdout.strip()
