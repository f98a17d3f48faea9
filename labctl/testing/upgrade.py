"""A lab that the last release made, updated by this checkout under load."""

import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

from labctl import console_api
from labctl.context import Context
from labctl.drills.job_load import JobLoad
from labctl.errors import LabError
from labctl.machine import engine
from labctl.paths import ROOT, LabPaths
from labctl.programs import process
from labctl.screen import Screen
from labctl.substrates import cleanup
from labctl.substrates.containers import DockerSubstrate
from labctl.testing import job_check
from labctl.testing.checks import Suite
from labctl.testing.cycle import Cycle

LAB = "warren-test-upgrade"
# The commit of the last release; a clone may lack its tag.
RELEASE, COMMIT = "v1.0.0", "6f01b8e0220efc0e0ac672e205fbc7f45ae1cbad"
TOPOLOGY = Path("inventories", "topology-trial.yml")
_CHANGED = re.compile(r"is up: changed=(\d+)")


class UpgradeCycle(Cycle):
    """`./lab up` of the release, then of this version in the same folder while users submit jobs."""

    name = "upgrade"

    def __init__(self, reports: Path, screen: Screen) -> None:
        self._folder = LabPaths(LAB).base / "upgrade"
        paths = LabPaths(LAB, self._folder)
        super().__init__(Context(paths, DockerSubstrate(paths), screen), reports)

    def run(self, *, keep: bool) -> list[Path]:
        os.environ["LAB_TOPOLOGY"] = str(self._folder / TOPOLOGY)
        try:
            return super().run(keep=keep)
        finally:
            del os.environ["LAB_TOPOLOGY"]

    def prepare(self) -> None:
        engine.ensure(self.lab.paths, self.lab.screen)
        if self._folder.exists():
            self.remove()
        self._folder.mkdir(parents=True)
        archive = self._folder / "release.tar"
        done = subprocess.run(
            ["git", "archive", f"--output={archive}", COMMIT],
            check=False,
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
        if done.returncode != 0:
            raise LabError(
                f"The release {RELEASE} ({COMMIT[:7]}) is not in this clone ({done.stderr.strip()});"
                " fetch its whole history: git fetch --unshallow."
            )
        with tarfile.open(archive) as release:
            release.extractall(self._folder, filter="data")
        archive.unlink()

    def make(self) -> None:
        self._lab(f"./lab up of {RELEASE}", "up")
        console = console_api.Console(
            self.lab.substrate.url(), self.lab.paths, console_api.password(self.lab.paths)
        )
        with JobLoad(console, self.lab.substrate.patience()) as load:
            self._replace_by_this_version()
            self._lab("./lab up of this version, under load", "up")
            patience = self.lab.substrate.patience()
            summary = job_check.finish(load, self.reports / "upgrade-jobs.json", patience)
        self.lab.screen.say(f"  {summary}")

    def check(self) -> list[Suite]:
        return []  # each ./lab up verifies its lab

    def remove(self) -> None:
        if (self._folder / "lab").exists():
            asks = "--yes" in (self._folder / "labctl" / "cli.py").read_text(encoding="utf-8")
            self._lab("remove the lab", "down", *(["--yes"] if asks else []))  # the release does not ask
        left = cleanup.count(self.lab.paths, engine.require())
        if left != cleanup.Removed():
            raise LabError(f"down left {left} behind.")
        shutil.rmtree(self._folder)

    def _up_again(self) -> None:
        again = self._lab("./lab up again", "up", "--no-demo")
        changed = _CHANGED.search("\n".join(again.lines))
        if changed is None or changed[1] != "0":
            raise LabError(f"The second up did not end with changed=0: {again.ending(2)}")

    def _replace_by_this_version(self) -> None:
        """As an update of the checkout does: other files, the same `.lab`."""
        for item in self._folder.iterdir():
            if item.name != ".lab":
                shutil.rmtree(item) if item.is_dir() and not item.is_symlink() else item.unlink()
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            check=True,
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
        for name in filter(None, listed.stdout.split("\0")):
            source, target = ROOT / name, self._folder / name
            if source.exists() or source.is_symlink():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target, follow_symlinks=False)

    def _lab(self, title: str, *words: str) -> process.Done:
        """Run that folder's ./lab; raises LabError with its last lines when it fails."""
        environment = {**os.environ, "LAB_NAME": LAB}
        environment.pop("PYTHONPATH", None)
        with self.lab.screen.step(title) as step:
            done = process.follow([str(self._folder / "lab"), *words], step, environment=environment)
            step.ok = done.ok
        if not done.ok:
            raise LabError(done.ending())
        return done
