"""demo: a picture whose tiles come from different hosts."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

from labctl.console_api import Console, Progress
from labctl.context import Context
from labctl.errors import LabError
from labctl.lab.files import make_private
from labctl.screen import Step

POLL_S = 0.25
STALL_S = 120.0  # without one more tile: a large picture may take long, and a slow host too


@dataclass(frozen=True)
class View:
    """What to render: size and tile edge in pixels, part of the complex plane, iterations per pixel."""

    width: int = 1280
    height: int = 800
    tile: int = 128
    iterations: int = 600
    center_x: float = -0.743643887
    center_y: float = 0.131825904
    width_units: float = 0.01

    def request(self) -> dict[str, object]:
        return {
            "center_x": self.center_x,
            "center_y": self.center_y,
            "width_units": self.width_units,
            "width": self.width,
            "height": self.height,
            "tile": self.tile,
            "iterations": self.iterations,
        }


@dataclass(frozen=True)
class Picture:
    """A rendered picture: job id, tiles, tiles by host, seconds from submission to the last tile, files."""

    job: str
    tiles: int
    by_host: dict[str, int]
    seconds: float
    image: Path
    tinted: Path

    def as_json(self) -> dict[str, object]:
        return {
            "job": self.job,
            "tiles": self.tiles,
            "by_host": self.by_host,
            "seconds": round(self.seconds, 2),
            "image": str(self.image),
        }

    @property
    def rate(self) -> float:
        """Tiles per second."""
        return self.tiles / self.seconds if self.seconds else 0.0

    def shares(self) -> str:
        """Share of each host, like "worker-1 34 %, worker-2 66 %"."""
        total = sum(self.by_host.values()) or 1
        return ", ".join(f"{host} {count / total:.0%}" for host, count in sorted(self.by_host.items()))


def run(context: Context, view: View) -> Picture:
    """Render the view on the lab and save it; raises LabError when fewer than two hosts did work."""
    make_private(context.paths.state)
    with (
        Console(context.substrate.url(), context.paths, context.substrate.console_password()) as console,
        context.screen.step("render the demo") as step,
    ):
        started = time.monotonic()
        job, _parts = console.submit_render(view.request())
        progress = _wait(console, job, step, STALL_S * context.substrate.patience())
        seconds = time.monotonic() - started
        picture = Picture(
            job,
            progress.total,
            progress.by_host,
            seconds,
            context.paths.state / "demo.png",
            context.paths.state / "demo-by-host.png",
        )
        console.save_image(job, picture.image)
        console.save_image(job, picture.tinted, tint=True)
        step.result = f"{picture.tiles} tiles, {picture.rate:.1f} tiles/s: {picture.shares()}"
    return picture


def command(context: Context, view: View) -> int:
    picture = run(context, view)
    if context.screen.json:
        print(json.dumps(picture.as_json(), indent=2))
    else:
        context.screen.say(f"  picture: {picture.image}\n  by host: {picture.tinted}")
    require_two_hosts(picture, workers(context))
    return 0


def workers(context: Context) -> int:
    """Number of worker hosts of the lab."""
    return len(context.substrate.groups()["workers"])


def require_two_hosts(picture: Picture, workers: int = 2) -> None:
    """Raise LabError unless at least two hosts did work; of a lab with one worker, that one."""
    if len([host for host, count in picture.by_host.items() if count]) < min(2, workers):
        raise LabError(
            f"Only {', '.join(picture.by_host) or 'no host'} rendered tiles; ./lab status tells which"
            " workers consume."
        )


def _wait(console: Console, job: str, step: Step, patience: float) -> Progress:
    """Wait until the job is done; LabError when it ended otherwise, or had no new tile for `patience` s."""
    done, moved = -1, time.monotonic()
    while True:
        progress = console.job(job)
        if progress.done != done:
            done, moved = progress.done, time.monotonic()
        hosts = ", ".join(f"{host} {count}" for host, count in sorted(progress.by_host.items()))
        step.update(f"{progress.done}/{progress.total} tiles  {hosts}")
        if progress.state == "done":
            return progress
        if progress.state != "running":
            raise LabError(_ended_without_picture(job, progress))
        if time.monotonic() - moved > patience:
            raise LabError(
                f"Job {job} has {progress.done} of {progress.total} tiles and got none for {patience:.0f} s;"
                " ./lab status tells which workers consume."
            )
        time.sleep(POLL_S)


def _ended_without_picture(job: str, progress: Progress) -> str:
    tiles = f"{progress.done} of {progress.total} tiles"
    if progress.state == "failed":
        why = progress.error.rstrip(".") or "see ./lab logs mosaic-worker@render"
        return f"Job {job} failed with {tiles}: {why}."
    return f"Job {job} was {progress.state} with {tiles}; run ./lab demo again."
