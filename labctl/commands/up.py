"""up: creates, finishes or updates a lab, and verifies it."""

import time
from dataclasses import dataclass, field

from labctl.ansible import playbooks
from labctl.applications import entries
from labctl.commands import demo, verify
from labctl.console_api import USER
from labctl.context import Context
from labctl.errors import LabError
from labctl.lab.lock import exclusive


@dataclass
class Summary:
    """What `up` did: changed tasks of each playbook, seconds of each step."""

    changed: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def total_changed(self) -> int:
        return sum(self.changed.values())


def run(context: Context, *, check: bool = True, show: bool = True) -> Summary:
    """Create and configure the lab, verify it (`check`), render a picture (`show`); raises LabError."""
    summary = Summary()
    with exclusive(context.paths, "up"):
        clock = time.monotonic()

        def lap(name: str) -> None:
            nonlocal clock
            summary.seconds[name] = time.monotonic() - clock
            clock = time.monotonic()

        if check:
            verify.require_commands(context)
        made = context.substrate.make(context.screen)
        summary.changed["nodes"] = made.changed
        lap("nodes")
        summary.changed["site"] = configure(context, made.hosts)
        lap("site")
        if check:
            suite = verify.run(context)
            lap("verify")
            if not suite.ok:
                count = len(suite.failures)
                raise LabError(
                    f"The lab is up, but {count} check{'s' * (count != 1)} failed (above); ./lab verify"
                    " repeats them."
                )
        if show:
            demo.require_two_hosts(context, demo.run(context, demo.View()))
            lap("demo")
    return summary


def command(context: Context, *, check: bool, show: bool) -> int:
    summary = run(context, check=check, show=show)
    steps = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in summary.seconds.items())
    context.screen.say(
        f"Lab {context.paths.name} is up: changed={summary.total_changed},"
        f" {sum(summary.seconds.values()):.0f} s ({steps})."
    )
    url = context.substrate.url()
    if url:
        context.screen.say(f"  console  {url}  user {USER}; ./lab open prints the password")
    if show:
        context.screen.say(f"  picture  {context.paths.state / 'demo.png'}")
    return 0


def configure(context: Context, hosts: int) -> int:
    """Run site.yml, without the install phase where it was done; returns the number of changed tasks."""
    substrate, title = context.substrate, "install and configure the nodes"
    arguments = ["--forks", str(max(hosts, 1))]
    if substrate.is_installed():
        title = "configure the nodes"
        arguments += ["--skip-tags", "install"]
    with context.screen.step(title) as step:
        run = playbooks.run(
            context.paths, "site.yml", step, inventory=substrate.inventory, arguments=arguments
        )
        step.result = run.summary()
    substrate.remember_installed()
    entries.remember_deployed(context.paths, entries.read(context.paths))
    return run.changed
