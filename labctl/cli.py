"""The command line of ./lab."""

import errno
import os
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING

import click

from labctl.errors import LabError

if TYPE_CHECKING:
    from labctl.context import Context

INTERRUPTED = 130
_JSON = click.option("--json", "as_json", is_flag=True, help="Print a JSON document on stdout.")


def _context(*, json: bool = False) -> "Context":
    """Where a command starts; imported only then, as what Screen draws with takes long to load."""
    from labctl import context

    return context.make(json=json)


def _fail(text: str) -> None:
    from labctl.screen import Screen

    Screen().fail(text)


class _Group(click.Group):
    """Lists the commands in the order in which a person meets them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self.commands)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--inventory",
    metavar="FOLDER",
    envvar="LAB_INVENTORY",
    help="Use the hosts of this Ansible inventory instead of Docker containers.",
)
def cli(inventory: str | None) -> None:
    """Warren: a RabbitMQ and Celery lab of real hosts.

    LAB_NAME names the lab (default: warren); labs of different names live side by side.
    """
    if inventory:
        os.environ["LAB_INVENTORY"] = inventory


@cli.command()
@click.option("--inventory", metavar="FOLDER", help="Use the hosts of this Ansible inventory.")
@click.option("--no-verify", is_flag=True, help="Leave out the checks at the end.")
@click.option("--no-demo", is_flag=True, help="Leave out the picture at the end.")
def up(inventory: str | None, no_verify: bool, no_demo: bool) -> int:
    """Make the lab, or finish or update it; then verify it and render a picture."""
    from labctl.commands import up as module

    if inventory:
        os.environ["LAB_INVENTORY"] = inventory
    return module.command(_context(), check=not no_verify, show=not no_demo)


@cli.command()
@_JSON
def status(as_json: bool) -> int:
    """Show how every node, the cluster and the workers are."""
    from labctl.commands import status as module

    return module.command(_context(json=as_json))


@cli.command()
@click.option("--disruptive", is_flag=True, help="Also run the checks that kill and restart things.")
@click.option(
    "-k", "select", default="", metavar="EXPRESSION", help="Run only the tests that match (pytest's -k)."
)
@_JSON
def verify(disruptive: bool, select: str, as_json: bool) -> int:
    """Check every node against what its role promises."""
    from labctl.commands import verify as module

    return module.command(_context(json=as_json), disruptive=disruptive, select=select)


@cli.command()
@click.option("--width", default=1280, show_default=True, help="Pixels.")
@click.option("--height", default=800, show_default=True, help="Pixels.")
@click.option("--tile", default=128, show_default=True, help="Edge of a tile in pixels.")
@click.option("--iterations", default=600, show_default=True)
@_JSON
def demo(width: int, height: int, tile: int, iterations: int, as_json: bool) -> int:
    """Render a picture whose tiles come from different hosts."""
    from labctl.commands import demo as module

    view = module.View(width=width, height=height, tile=tile, iterations=iterations)
    return module.command(_context(json=as_json), view)


@cli.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--list", "show_list", is_flag=True, help="Show every drill: what it breaks, what is expected.")
@click.option("--all", "everything", is_flag=True, help="Every drill, one after another.")
@click.option(
    "--soak", type=click.IntRange(1, 10_000), metavar="FAULTS", help="So many random faults; needs --seed."
)
@click.option(
    "--rounds", default=1, show_default=True, type=click.IntRange(1, 100), help="Faults of each drill."
)
@click.option("--seed", type=click.IntRange(0), help="Repeats the choice of hosts, and of a soak's faults.")
@click.option(
    "--profile",
    type=click.Choice(["lab", "stock"]),
    default="lab",
    show_default=True,
    help="stock: also with plain Celery, which is to fail.",
)
@_JSON
def drill(
    names: tuple[str, ...],
    show_list: bool,
    everything: bool,
    soak: int | None,
    rounds: int,
    seed: int | None,
    profile: str,
    as_json: bool,
) -> int:
    """Break the lab under load, heal it, and compare what was confirmed with what was done."""
    from labctl.commands import drill as module

    made = _context(json=as_json)
    if show_list:
        return module.listing(as_json=as_json, context=made)
    return module.command(made, module.Choice(names, everything, rounds, seed, profile, soak or 0))


@cli.command("open")
@click.option("--browser", is_flag=True, help="Also open it in a browser.")
def open_command(browser: bool) -> int:
    """Print the address of the console, user and password."""
    from labctl.commands import access

    return access.open_console(_context(), browser=browser)


@cli.command(context_settings={"ignore_unknown_options": True})
@click.argument("node")
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def shell(node: str, command: tuple[str, ...]) -> int:
    """Open a root shell on NODE, or run COMMAND there."""
    from labctl.commands import access

    return access.shell(_context(), node, list(command))


@cli.command()
@click.argument("target", metavar="NODE|UNIT")
@click.option("-n", "--lines", default=100, show_default=True, type=click.IntRange(1), help="Of each node.")
@click.option("-f", "--follow", is_flag=True, help="Go on showing what is logged (of a node).")
def logs(target: str, lines: int, follow: bool) -> int:
    """Show the journal of a node, or of a unit on every node."""
    from labctl.commands import access

    return access.logs(_context(), target, lines=lines, follow=follow)


@cli.command(context_settings={"ignore_unknown_options": True})
@click.argument("playbook")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(playbook: str, arguments: tuple[str, ...]) -> int:
    """Run playbooks/PLAYBOOK; further ARGUMENTS go to ansible-playbook."""
    from labctl.commands import run as module

    return module.command(_context(), playbook, list(arguments))


@cli.command()
@click.option(
    "--all", "everything", is_flag=True, help="Also remove images and caches, which all labs share."
)
def down(everything: bool) -> int:
    """Remove the lab: nodes, data, network and state."""
    from labctl.commands import down as module

    return module.command(_context(), everything=everything)


@cli.group()
def box() -> None:
    """Make what `vagrant up` starts from."""


@box.command("build")
@click.argument("provider", default="libvirt", type=click.Choice(["docker", "libvirt", "virtualbox"]))
def box_build(provider: str) -> int:
    """Make the box for PROVIDER (default: libvirt) and give it to Vagrant; for docker, an image."""
    from labctl.commands import box as module
    from labctl.paths import lab_paths
    from labctl.screen import Screen

    return module.command(lab_paths(), provider, Screen())


@cli.command()
@click.option("--lint", is_flag=True, help="Only the linters.")
@click.option("--unit", is_flag=True, help="Only the tests that need no lab.")
@click.option("--lab", is_flag=True, help="Only the tests in a lab of their own.")
@click.option("--upgrade", is_flag=True, help="Only this version over a lab that the last release made.")
@click.option("--vagrant", is_flag=True, help="Only the smallest lab under Vagrant's docker provider.")
@click.option("--vm", is_flag=True, help="Only the smallest lab on VMs of this machine; long without KVM.")
@click.option("--roles", is_flag=True, help="Only the Molecule scenarios, all of them.")
@click.option("--role", "scenarios", multiple=True, metavar="NAME", help="Only this Molecule scenario.")
@click.option("--keep", is_flag=True, help="Leave the lab of the tests (LAB_NAME=warren-test) running.")
def test(keep: bool, scenarios: tuple[str, ...], **phases: bool) -> int:
    """Run the checks of the project: linters, unit tests, some roles, a lab of its own, one under Vagrant."""
    from labctl.commands import test as module

    phases["roles"] = phases["roles"] or bool(scenarios)
    chosen = [name for name, wanted in phases.items() if wanted]
    return module.command(chosen, keep=keep, roles=scenarios)


def _status(result: object) -> int:
    """Exit status of a command; click itself gives other things, as after --help."""
    return result if isinstance(result, int) else 0


def _os_error(error: OSError) -> str:
    """One sentence for what this machine refused: files of another user, a full disk."""
    what = f"{error.filename}: " if error.filename else ""
    remedy = "free some space" if error.errno == errno.ENOSPC else "correct that"
    if isinstance(error, PermissionError):
        remedy = "run ./lab as the user who made this lab, or give its files to this user (chown -R)"
    return f"{what}{error.strerror or error}; {remedy}, then try again."


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run ./lab; exits with 0 done, 1 the lab says no, 2 wrong usage or prerequisite, 130 interrupted."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    try:
        sys.exit(_status(cli.main(prog_name="lab", standalone_mode=False)))
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except LabError as error:
        _fail(str(error))
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _fail(
            f"Interrupted; the same command continues where this one stopped: ./lab {' '.join(sys.argv[1:])}"
        )
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        _fail(_os_error(error))
        sys.exit(2)
