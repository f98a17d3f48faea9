"""down: the lab is gone, however far it had got."""

import contextlib
import shutil

import docker
import docker.errors

from labctl.ansible import playbooks
from labctl.context import Context
from labctl.errors import LabError, UsageError
from labctl.images import keys
from labctl.images.bake import BAKE_LAB
from labctl.lab.files import remove_state
from labctl.lab.lock import exclusive
from labctl.machine import dockerd, engine
from labctl.paths import DOCKER_INVENTORY, LabPaths
from labctl.screen import Screen
from labctl.substrates import cleanup


def command(context: Context, *, everything: bool) -> int:
    """Remove containers, volumes, network and state of the lab; with everything also images and caches."""
    paths, screen = context.paths, context.screen
    if context.substrate.inventory != DOCKER_INVENTORY:
        raise UsageError("These hosts were not made by ./lab; remove them with the tool that made them.")
    client = _client(paths, screen)
    if client is not None:
        remove(paths, client, screen)
        if everything:
            _remove_bake(paths, client, screen)
            _remove_images(client, screen)
    elif everything:
        screen.say("Images of labs stay, if there are any; start the engine and run ./lab down --all again.")
    if everything:
        shutil.rmtree(paths.cache, ignore_errors=True)
        if client is not None and dockerd.stop_if_ours(paths, client):
            screen.say("stopped the Docker engine that ./lab had started")
        _remove_engine_folder(paths)
    return 0


def remove(paths: LabPaths, client: docker.DockerClient, screen: Screen) -> None:
    """Remove one lab by destroy.yml, and by its label what that does not know or could not do."""
    existed = paths.state.exists()
    with exclusive(paths, "down"), screen.step(f"remove lab {paths.name}") as step:
        before = cleanup.count(paths, client)
        if before.containers:
            with contextlib.suppress(LabError):  # what is left over goes by label
                playbooks.run(paths, "substrate/destroy.yml", step)
        step.update("what is left")
        cleanup.sweep(paths, client)
        remove_state(paths)
        step.result = f"{before}" if existed or before.containers else "there was nothing"


def _client(paths: LabPaths, screen: Screen) -> docker.DockerClient | None:
    """The engine; started when the lab has nodes in it, None when there is none and nothing to remove."""
    with contextlib.suppress(engine.EngineDownError):
        return engine.connect()
    if not paths.lab_file.exists():
        remove_state(paths)
        screen.say(f"There is no lab {paths.name}, and no Docker engine answers.")
        return None
    return engine.ensure(paths, screen)


def _remove_bake(paths: LabPaths, client: docker.DockerClient, screen: Screen) -> None:
    bake = LabPaths(BAKE_LAB, paths.root)
    if bake.state.exists() or cleanup.count(bake, client).containers:
        remove(bake, client, screen)


def _remove_images(client: docker.DockerClient, screen: Screen) -> None:
    kept: list[str] = []
    removed = 0
    for image in client.images.list():
        for tag in filter(keys.is_of_a_lab, image.tags):
            try:
                client.images.remove(tag)
                removed += 1
            except docker.errors.APIError:
                kept.append(tag)
    screen.say(f"removed {removed} images")
    if kept:
        screen.say(f"kept {', '.join(kept)}: other labs use them")


def _remove_engine_folder(paths: LabPaths) -> None:
    if not (paths.base / "engine" / "started.json").exists():
        shutil.rmtree(paths.base / "engine", ignore_errors=True)
    (paths.base / "venv.lock").unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        paths.base.rmdir()
