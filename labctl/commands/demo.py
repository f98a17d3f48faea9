"""demo: a picture whose tiles come from different hosts."""

import json
import time
from dataclasses import asdict, dataclass
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


@dataclass(frozen=True)
class Picture:
    """A rendered picture: job id, tiles, tiles by host, seconds from submission to the last tile, files."""

    job: str
    tiles: int
    by_host: dict[str, int]
    seconds: float
    image: Path
    tinted: Path

    def summary(self) -> str:
        """Like "70 tiles, 23.1 tiles/s: worker-1 34%, worker-2 66%"."""
        total = sum(self.by_host.values()) or 1
        shares = ", ".join(f"{host} {count / total:.0%}" for host, count in sorted(self.by_host.items()))
        return f"{self.tiles} tiles, {self.tiles / self.seconds:.1f} tiles/s: {shares}"


def run(context: Context, view: View, priority: str = "normal") -> Picture:
    """Render the view on the lab and save it, also tinted by host; raises LabError without a picture."""
    folder = context.paths.state
    make_private(folder)
    with (
        Console(context.substrate.url(), context.paths, context.substrate.console_password()) as console,
        context.screen.step("render the demo") as step,
    ):
        started = time.monotonic()
        job = console.submit_render(asdict(view), priority)
        progress = _wait(console, job, step, STALL_S * context.substrate.patience())
        seconds = round(time.monotonic() - started, 2)
        image, tinted = folder / "demo.png", folder / "demo-by-host.png"
        image.write_bytes(console.get(f"/api/jobs/{job}/image").content)
        tinted.write_bytes(console.get(f"/api/jobs/{job}/image", tint="host").content)
        picture = Picture(job, progress.total, progress.by_host, seconds, image, tinted)
        step.result = picture.summary()
    return picture


def command(context: Context, view: View, priority: str) -> int:
    picture = run(context, view, priority)
    if context.screen.json:
        print(json.dumps(asdict(picture), indent=2, default=str))
    else:
        context.screen.say(f"  picture: {picture.image}\n  by host: {picture.tinted}")
    require_two_hosts(context, picture)
    return 0


def require_two_hosts(context: Context, picture: Picture) -> None:
    """Raise LabError unless two hosts rendered tiles; in a lab with one worker host, that one."""
    if sum(map(bool, picture.by_host.values())) < min(2, len(context.substrate.groups()["workers"])):
        raise LabError(
            f"Only {', '.join(picture.by_host) or 'no host'} rendered tiles; ./lab status shows which queues"
            " each worker host consumes."
        )


def _wait(console: Console, job: str, step: Step, patience: float) -> Progress:
    """Wait until the job is done; LabError when it ended otherwise, or had no new tile for `patience` s."""
    done, moved = -1, time.monotonic()
    while True:
        progress = console.job(job)
        if progress.done != done:
            done, moved = progress.done, time.monotonic()
        hosts = ", ".join(f"{host} {count}" for host, count in sorted(progress.by_host.items()))
        tiles = f"{done} of {progress.total} tiles"
        step.update(f"{tiles}  {hosts}")
        if progress.state == "done":
            return progress
        if progress.state == "failed":
            why = (progress.error or "").rstrip(".") or "see ./lab logs mosaic-worker@render"
            raise LabError(f"Job {job} failed with {tiles}: {why}.")
        if progress.state != "running":
            raise LabError(f"Job {job} was {progress.state} with {tiles}; run ./lab demo again.")
        if time.monotonic() - moved > patience:
            raise LabError(
                f"Job {job} has {tiles} and got none for {patience:.0f} s; ./lab status shows which queues"
                " each worker host consumes."
            )
        time.sleep(POLL_S)
