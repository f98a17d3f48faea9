"""A small lab with hostile secrets, each of which is changed while users submit jobs."""

import os
from collections.abc import Iterable
from pathlib import Path

from labctl import console_api
from labctl.commands import down, up, verify
from labctl.context import Context
from labctl.drills.job_load import JobLoad
from labctl.errors import LabError, UsageError
from labctl.lab.files import write_private
from labctl.machine import engine
from labctl.paths import ROOT, LabPaths
from labctl.screen import Screen
from labctl.substrates import cleanup
from labctl.substrates.containers import DockerSubstrate
from labctl.testing import hostile, job_check
from labctl.testing.checks import Suite
from labctl.testing.cycle import Action, Cycle

LAB = "warren-test-secrets"
TOPOLOGY = ROOT / "inventories" / "topology-trial.yml"
# These are not changed: the cookie, and the password with which the load logs in, which is changed after it.
_COOKIE, _CONSOLE = "erlang_cookie", "console_password"


class SecretsCycle(Cycle):
    """`./lab up` after each change of a secret. Those that cannot change are refused."""

    name = "secrets"

    def __init__(self, reports: Path, screen: Screen) -> None:
        paths = LabPaths(LAB)
        super().__init__(Context(paths, DockerSubstrate(paths), screen), reports)

    def run(self, *, keep: bool) -> list[Path]:
        before = {name: os.environ.get(name) for name in ("LAB_NAME", "LAB_TOPOLOGY")}
        os.environ |= {"LAB_NAME": LAB, "LAB_TOPOLOGY": str(TOPOLOGY)}
        try:
            return super().run(keep=keep)
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                os.environ.update({name: value} if value is not None else {})

    def prepare(self) -> None:
        engine.ensure(self.lab.paths, self.lab.screen)
        down.command(self.lab, everything=False)

    def make(self) -> None:
        hostile.write(self.lab.paths.secrets, hostile.declared())
        up.run(self.lab, check=False, show=False)

    def check(self) -> list[Suite]:
        return []

    def uses(self) -> Iterable[tuple[str, Action]]:
        yield "each secret is changed under load, and no job is lost", self._change_each
        yield "an up after them changes nothing", self._up_again
        yield "another Erlang cookie is refused", self._change_cookie
        yield "another key of the authority is refused", self._change_authority
        yield "the lab is verified with the new secrets", self._verify

    def remove(self) -> None:
        down.command(self.lab, everything=False)
        left = cleanup.count(self.lab.paths, engine.require())
        if left != cleanup.Removed():
            raise LabError(f"down left {left} behind.")

    def _change_each(self) -> None:
        url, paths, patience = self.lab.substrate.url(), self.lab.paths, self.lab.substrate.patience()
        console = console_api.Console(url, paths, console_api.password(paths))
        with JobLoad(console, patience) as load:
            for name in hostile.declared():
                if name not in (_COOKIE, _CONSOLE):
                    self._change(name)
            self.lab.screen.say("  " + job_check.finish(load, self.reports / "secrets-jobs.json", patience))
        self._change(_CONSOLE)
        with console_api.Console(url, paths, console_api.password(paths)) as renewed:
            renewed.get("/api/jobs", limit=1)

    def _change(self, name: str) -> None:
        self.lab.screen.say(f"  a new {name}")
        hostile.write(self.lab.paths.secrets, [name], change=1)
        if not up.run(self.lab, check=False, show=False).total_changed:
            raise LabError(f"After a change of {name}, up changed nothing.")

    def _change_cookie(self) -> None:
        self._refuse(self.lab.paths.secrets / _COOKIE, hostile.secret(_COOKIE, 1), "cannot change its cookie")

    def _change_authority(self) -> None:
        key = (self.lab.paths.state / "pki" / "broker-1.key").read_text(encoding="utf-8")
        self._refuse(self.lab.paths.state / "pki" / "ca.key", key, "cannot change to another")

    def _refuse(self, file: Path, text: str, sentence: str) -> None:
        """Check that up refuses a file with this text by a sentence, and changes nothing."""
        before = file.read_text(encoding="utf-8")
        write_private(file, text)
        try:
            up.run(self.lab, check=False, show=False)
        except UsageError as error:
            if sentence not in str(error):
                raise LabError(f"up refused {file.name} for another reason: {error}") from error
        else:
            raise LabError(f"up did not refuse another {file.name}.")
        finally:
            write_private(file, before)
        self._up_again()

    def _verify(self) -> None:
        suite = verify.run(self.lab, reports=self.reports, name="verify-secrets")
        if not suite.ok:
            raise LabError(f"{len(suite.failures)} checks failed.")
