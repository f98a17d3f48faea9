"""down: removes the lab, also when its creation was interrupted."""

import contextlib
import shutil
import sys

import click
import docker
import docker.errors

from labctl.ansible import playbooks
from labctl.context import Context, no_lab
from labctl.errors import LabError, UsageError
from labctl.images import keys
from labctl.images.bake import BAKE_LAB
from labctl.lab.files import remove_state
from labctl.lab.lock import exclusive
from labctl.machine import dockerd, engine
from labctl.paths import DOCKER_INVENTORY, LabPaths
from labctl.screen import Screen
from labctl.substrates import cleanup
from labctl.substrates.containers import DockerSubstrate


def confirm(context: Context, *, everything: bool) -> bool:
    """Ask before data go, when there are any; False for a no, UsageError where nobody can answer."""
    _refuse_other_hosts(context)
    paths, nodes = context.paths, DockerSubstrate(context.paths)
    owner, present = "", False
    with contextlib.suppress(engine.EngineDownError):
        owner, present = nodes.owner(), bool(nodes.containers())
    if not (present or everything or paths.state.exists()):
        return True
    what = f"lab {paths.name} with all its data" + (", all images and all caches" if everything else "")
    option = " --all" if everything else ""
    if not sys.stdin.isatty():
        raise UsageError(f"./lab down removes {what}; to confirm that, run ./lab down{option} --yes.")
    of = f", which belongs to the checkout of {owner}" if owner else ""
    return click.confirm(f"Remove {what}{of}?", err=True)


def _refuse_other_hosts(context: Context) -> None:
    if context.substrate.inventory != DOCKER_INVENTORY:
        raise UsageError("./lab did not create these hosts; remove them with the tool that created them.")


def command(context: Context, *, everything: bool) -> int:
    """Remove containers, volumes, network and state of the lab; with everything also images and caches."""
    paths, screen = context.paths, context.screen
    _refuse_other_hosts(context)
    client = _client(paths, screen)
    if client is not None:
        _remove(paths, client, screen)
    elif everything:
        screen.say("Images of labs stay, if there are any; start the engine and run ./lab down --all again.")
    if everything:
        if client is not None:
            bake = LabPaths(BAKE_LAB, paths.root)
            if bake.state.exists() or cleanup.count(bake, client).containers:
                _remove(bake, client, screen)
            _remove_images(client, screen)
            if dockerd.stop_if_ours(paths, client):
                screen.say("stopped the Docker engine that ./lab had started")
        shutil.rmtree(paths.cache, ignore_errors=True)
        if not dockerd.started_file(paths).exists():
            shutil.rmtree(dockerd.started_file(paths).parent, ignore_errors=True)
        (paths.base / "venv.lock").unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            paths.base.rmdir()
    return 0


def _client(paths: LabPaths, screen: Screen) -> docker.DockerClient | None:
    """The engine, started when the lab has nodes in it; None when nothing needs to be removed from it."""
    with contextlib.suppress(engine.EngineDownError):
        return engine.require()
    if not paths.lab_file.exists():
        remove_state(paths)
        screen.say(no_lab(paths.name))
        return None
    return engine.ensure(paths, screen)


def _remove(paths: LabPaths, client: docker.DockerClient, screen: Screen) -> None:
    """Remove one lab by destroy.yml, and by its label what that does not know or could not remove."""
    existed = paths.state.exists()
    if not existed and cleanup.count(paths, client) == cleanup.Removed():
        screen.say(no_lab(paths.name))
        return
    with exclusive(paths, "down"), screen.step(f"remove lab {paths.name}") as step:
        before = cleanup.count(paths, client)
        if before.containers:
            with contextlib.suppress(LabError):  # what is left is removed by label
                playbooks.run(paths, "substrate/destroy.yml", step)
        step.update("what is left")
        cleanup.sweep(paths, client)
        remove_state(paths)
        step.result = f"{before}"


def _remove_images(client: docker.DockerClient, screen: Screen) -> None:
    tags = [tag for image in client.images.list() for tag in image.tags if keys.is_of_a_lab(tag)]
    kept: list[str] = []
    for tag in tags:
        try:
            client.images.remove(tag)
        except docker.errors.APIError:
            kept.append(tag)
    screen.say(f"removed {len(tags) - len(kept)} images")
    if kept:
        screen.say(f"kept {', '.join(kept)}: other labs use them")
