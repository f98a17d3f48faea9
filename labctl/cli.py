"""The command line of ./lab."""

import errno
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from labctl import VERSION
from labctl.errors import LabError
from labctl.programs import surroundings

if TYPE_CHECKING:
    from labctl.context import Context

INTERRUPTED = 130
_JSON = click.option("--json", "as_json", is_flag=True, help="Print a JSON document on stdout.")


def _context(*, json: bool = False, existing: bool = True) -> "Context":
    """The context of a command, of one that needs a lab unless `existing` is False."""
    from labctl import context

    return context.make(json=json, existing=existing)


def _fail(text: str) -> None:
    from labctl.screen import Screen

    Screen().fail(text)


def _journal_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of the commands that show journals."""
    for option in (
        _JSON,
        click.option("-f", "--follow", is_flag=True, help="Show new lines until interrupted."),
        click.option(
            "--since", default="", metavar="TIME", help="As in 10m, 2h, today or '2026-11-30 14:00'."
        ),
        click.option(
            "-n",
            "--lines",
            type=click.IntRange(1),
            help="Number of lines of each node (default: 100; with --follow 10; with --since all).",
        ),
    ):
        command = option(command)
    return command


def _import_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of the commands that import an application."""
    python = click.option(
        "--python",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="An interpreter that has the application's packages. By default they are installed for it.",
    )
    name = click.option(
        "--app", default="", metavar="MODULE:NAME", help="The Celery instance, as for celery -A."
    )
    return name(python(command))


class _Group(click.Group):
    """Lists the commands in the order in which a person needs them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self.commands)


def _use_inventory(_context: click.Context, _parameter: click.Parameter, folder: str | None) -> None:
    if folder:
        os.environ["LAB_INVENTORY"] = folder


_INVENTORY = click.option(
    "--inventory",
    metavar="FOLDER",
    expose_value=False,
    callback=_use_inventory,
    help="Use the hosts of this Ansible inventory (or LAB_INVENTORY) instead of Docker containers.",
)


def _complete_node(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Names of nodes for a shell's completion."""
    from contextlib import suppress

    from labctl import context
    from labctl.substrates.base import distinct

    with suppress(LabError, OSError):
        return [name for name in distinct(context.make().substrate.groups()) if name.startswith(begun)]
    return []


def _complete_journal(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """Names of nodes and short names of units."""
    from labctl.commands.logs import SHORT

    return _complete_node(context, parameter, begun) + [name for name in SHORT if name.startswith(begun)]


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@_INVENTORY
@click.version_option(VERSION, "--version", "-V", prog_name="Warren", message="%(prog)s %(version)s")
def cli() -> None:
    """Warren: a RabbitMQ and Celery lab of real hosts.

    LAB_NAME names the lab (default: warren). Labs with different names run side by side.
    """


@cli.command()
@_INVENTORY
@click.option("--no-verify", is_flag=True, help="Do not verify the lab at the end.")
@click.option("--no-demo", is_flag=True, help="Do not render a picture at the end.")
def up(no_verify: bool, no_demo: bool) -> int:
    """Create or update the lab. Then verify it and render a picture."""
    from labctl.commands import up as module

    return module.command(_context(existing=False), check=not no_verify, show=not no_demo)


@cli.command("list")
@_JSON
def list_command(as_json: bool) -> int:
    """List the labs of this machine."""
    from labctl.commands import labs
    from labctl.screen import Screen

    return labs.command(Screen(json=as_json))


@cli.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@_INVENTORY
@_JSON
def validate(file: Path | None, as_json: bool) -> int:
    """Check a topology or an inventory. It changes nothing and connects to no host.

    FILE is a topology or an Ansible inventory. By default it is what ./lab up would use.
    """
    from labctl.commands import validate as module
    from labctl.screen import Screen

    return module.command(file, Screen(json=as_json))


@cli.command()
@click.argument("names", nargs=-1, metavar="[NODE]...", shell_complete=_complete_node)
@_JSON
def status(names: tuple[str, ...], as_json: bool) -> int:
    """Show the state of nodes, cluster, queues and workers, or only of the given nodes."""
    from labctl.commands import status as module

    return module.command(_context(json=as_json), names)


@cli.command()
@click.argument("wanted", nargs=-1, metavar="[workers=COUNT]")
@_JSON
def scale(wanted: tuple[str, ...], as_json: bool) -> int:
    """Add worker hosts, or drain and remove some, until there are COUNT; or show the number of hosts.

    The lab keeps the number. Hosts that leave finish their running tasks first.
    """
    from labctl.commands import scale as module

    return module.command(_context(json=as_json), wanted)


@cli.command()
@click.option("--disruptive", is_flag=True, help="Also run checks that stop services and restart hosts.")
@click.option("-k", "select", default="", metavar="EXPRESSION", help="Run only tests that match (pytest -k).")
@_JSON
def verify(disruptive: bool, select: str, as_json: bool) -> int:
    """Check that every node is as its role promises."""
    from labctl.commands import verify as module

    return module.command(_context(json=as_json), disruptive=disruptive, select=select)


@cli.command()
@click.option("--width", default=1280, show_default=True, help="Pixels.")
@click.option("--height", default=800, show_default=True, help="Pixels.")
@click.option("--tile", default=128, show_default=True, help="Edge of a tile in pixels.")
@click.option("--iterations", default=600, show_default=True, help="At most, for each pixel.")
@click.option(
    "--priority",
    type=click.Choice(["normal", "high"]),
    default="normal",
    show_default=True,
    help="While tiles of both wait, the queue delivers two high ones for each normal one.",
)
@_JSON
def demo(priority: str, as_json: bool, **view: int) -> int:
    """Render a picture whose tiles come from different hosts."""
    from labctl.commands import demo as module

    return module.command(_context(json=as_json), module.View(**view), priority)


@cli.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--list", "show_list", is_flag=True, help="Show every drill, what it breaks and what is expected."
)
@click.option("--all", "everything", is_flag=True, help="Run every drill, one after another.")
@click.option(
    "--soak",
    type=click.IntRange(1, 10_000),
    metavar="FAULTS",
    help="Inject this number of random faults; needs --seed.",
)
@click.option(
    "--rounds", default=1, show_default=True, type=click.IntRange(1, 100), help="How often to run each drill."
)
@click.option(
    "--seed", type=click.IntRange(0), help="Repeat the random choice of hosts, and of the faults of --soak."
)
@click.option(
    "--app", default="", metavar="NAME", help="Run the drills with your own application of the lab."
)
@click.option("--task", default="", metavar="TASK", help="The task of your application to publish.")
@click.option("--args", default="[]", metavar="JSON", help="A list: the task's positional arguments.")
@click.option("--kwargs", default="{}", metavar="JSON", help="An object: the task's keyword arguments.")
@click.option(
    "--rate",
    default=20.0,
    show_default=True,
    type=click.FloatRange(0.1, 200),
    help="Tasks a second; fewer than your workers can run.",
)
@click.option(
    "--dry",
    is_flag=False,
    flag_value="0.03",
    metavar="[SECONDS]",
    help="Every task of your application sleeps instead of doing its work.",
)
@click.option("--durable", is_flag=True, help="Run it again with make_durable, without a change to its code.")
@click.option(
    "--without",
    multiple=True,
    metavar="SETTING",
    help="Run it also with make_durable but without SETTING. Implies --durable.",
)
@click.option(
    "--evidence",
    is_flag=True,
    help="Show what each setting prevents: run each drill with make_durable, and without each setting that"
    " guards against it.",
)
@click.option(
    "--junit", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write a JUnit report."
)
@_JSON
def drill(show_list: bool, as_json: bool, **choice: Any) -> int:
    """Break the lab under load, and count the tasks that were lost.

    A drill injects a fault, heals it, and compares the confirmed tasks with the executed ones. With --app
    and --task, the tasks are those of your own application: exit status 1 means that one was lost or stalled.
    """
    from labctl.commands import drill as module

    context = _context(json=as_json, existing=not show_list)
    if show_list:
        return module.listing(as_json=as_json, context=context)
    return module.command(context, module.Choice(**choice))


@cli.command()
@click.argument("names", nargs=-1, metavar="[SUITE]...")
@click.option("--quick", is_flag=True, help="Measure a short series, to see that it works.")
@click.option(
    "--repeats",
    type=click.IntRange(1, 100),
    metavar="NUMBER",
    help="How often to run each arm (default: 5; with --quick 2).",
)
@_JSON
def bench(names: tuple[str, ...], quick: bool, repeats: int | None, as_json: bool) -> int:
    """Measure rates, latency, and CPU time per task of each kind of node.

    SUITE is publish, drain, parts, latency or scale; without one, all are measured. The arms of a suite run
    in turn, and one of them twice, which shows the noise of the machine.
    """
    from labctl.commands import bench as module

    return module.command(_context(json=as_json), names, quick=quick, repeats=repeats)


@cli.command()
@click.argument("names", nargs=-1, metavar="[LESSON]...")
@click.option("--list", "show_list", is_flag=True, help="Show every lesson.")
@click.option("--all", "everything", is_flag=True, help="Run without waiting for keys.")
@_JSON
def tour(names: tuple[str, ...], show_list: bool, everything: bool, as_json: bool) -> int:
    """See on the lab how queues, exchanges and tasks work, in short lessons.

    LESSON is a name, a number, or a file of your own; without one, all lessons run. Each one shows a
    program, runs it on hosts of the lab, and checks what happened.
    """
    from labctl.commands import tour as module
    from labctl.screen import Screen

    if show_list:
        return module.listing(Screen(json=as_json))
    return module.command(_context(json=as_json, existing=False), names, everything=everything)


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
@_import_options
@click.option(
    "--timeout",
    default=60.0,
    show_default=True,
    type=click.FloatRange(1),
    metavar="SECONDS",
    help="Time limit for the import of the application.",
)
@_JSON
def audit(folder: Path, app: str, python: Path | None, timeout: float, as_json: bool) -> int:
    """Find the settings of your own Celery application that lose or stall tasks.

    FOLDER contains its requirements.txt or pyproject.toml. You need no lab, and no task runs.
    """
    from labctl.commands import audit as module
    from labctl.paths import lab_paths
    from labctl.screen import Screen

    return module.command(lab_paths(), Screen(json=as_json), folder, app=app, python=python, timeout=timeout)


@cli.group(cls=_Group)
def app() -> None:
    """Run your own Celery application in the lab."""


@app.command("add")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--name", default="", metavar="NAME", help="Name in the lab (default: of the project or folder)."
)
@_import_options
@click.option("--queue", "queues", multiple=True, metavar="NAME", help="Consume this queue too.")
@click.option(
    "--env", "variables", multiple=True, metavar="NAME=VALUE", help="Set this variable of the environment."
)
@click.option("--deploy", multiple=True, metavar="COMMAND", help="Run this for each new release.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def app_add(folder: Path, *, yes: bool, **choice: Any) -> int:
    """Deploy the application in FOLDER and run a first task; after an edit, deploy it again.

    FOLDER contains its requirements.txt or pyproject.toml. The lab finds its Celery instance, queues and
    periodic tasks.
    """
    from labctl.applications.declaration import Wanted
    from labctl.commands import app as module

    return module.add(_context(), folder, Wanted(**choice), confirmed=yes)


@app.command("list")
@_JSON
def app_list(as_json: bool) -> int:
    """Show the added applications, their queues, releases and units."""
    from labctl.commands import app as module

    return module.list_all(_context(json=as_json))


@app.command("logs")
@click.argument("name")
@_journal_options
def app_logs(name: str, as_json: bool, **choice: Any) -> int:
    """Show the journals of all units of an application, in order of time."""
    from labctl.commands import app as module

    return module.logs(_context(json=as_json), name, **choice)


@app.command("remove")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
def app_remove(name: str, yes: bool) -> int:
    """Delete an application from the lab, with its messages and its database."""
    from labctl.commands import app as module

    return module.remove(_context(), name, confirmed=yes)


@cli.command()
@click.argument("name", default="")
@click.option("--off", is_flag=True, help="Close the ports again.")
@_JSON
def connect(name: str, off: bool, as_json: bool) -> int:
    """Print what a program on this machine needs to use an application: eval "$(./lab connect NAME)".

    AMQPS and PostgreSQL are then reachable on 127.0.0.1.
    """
    from labctl.commands import connect as module

    return module.command(_context(json=as_json), name, off=off)


@cli.command("open")
@click.option("--browser", is_flag=True, help="Also open the console in a browser.")
@_JSON
def open_command(browser: bool, as_json: bool) -> int:
    """Print the address, user and password of the console."""
    from labctl.commands import access

    return access.open_console(_context(json=as_json), browser=browser)


@cli.command(context_settings={"ignore_unknown_options": True})
@click.argument("node", shell_complete=_complete_node)
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def shell(node: str, command: tuple[str, ...]) -> int:
    """Open a root shell on NODE, or run COMMAND there.

    Where rabbitmqctl lists a vhost and COMMAND names none, it is the vhost of mosaic.
    """
    from labctl.commands import access

    return access.shell(_context(), node, list(command))


@cli.command()
@click.argument("targets", nargs=-1, required=True, metavar="NODE|UNIT...", shell_complete=_complete_journal)
@_journal_options
def logs(as_json: bool, **choice: Any) -> int:
    """Show the journals of nodes, or of systemd units, in order of time.

    A node and a unit together show that unit on that node. Short names of units: beat, flower, gateway,
    postgresql, rabbitmq, worker.
    """
    from labctl.commands import logs as module

    return module.command(_context(json=as_json), module.Choice(**choice))


@cli.command(context_settings={"ignore_unknown_options": True})
@click.argument("playbook", required=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option("--json", "as_json", is_flag=True, help="Print the list of playbooks as a JSON document.")
def run(playbook: str | None, arguments: tuple[str, ...], as_json: bool) -> int:
    """Run playbooks/PLAYBOOK, or list the playbooks.

    ARGUMENTS are passed to ansible-playbook.
    """
    from labctl.commands import run as module

    if playbook is None:
        return module.listing(_context(json=as_json, existing=False))
    return module.command(_context(), playbook, list(arguments))


@cli.command()
@click.option(
    "--all", "everything", is_flag=True, help="Also remove images and caches, which all labs share."
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask first.")
def down(everything: bool, yes: bool) -> int:
    """Remove the lab: nodes, data, network and state."""
    from labctl.commands import down as module

    context = _context(existing=False)
    if not yes and not module.confirm(context, everything=everything):
        return 1
    return module.command(context, everything=everything)


@cli.group()
def box() -> None:
    """Build the box that `vagrant up` starts from."""


@box.command("build")
@click.argument("provider", default="libvirt", type=click.Choice(["docker", "libvirt", "virtualbox"]))
def box_build(provider: str) -> int:
    """Build the box for PROVIDER (default: libvirt) and add it to Vagrant; for docker, build an image."""
    from labctl.commands import box as module
    from labctl.paths import lab_paths
    from labctl.screen import Screen

    return module.command(lab_paths(), provider, Screen())


@cli.command()
@click.option("--lint", is_flag=True, help="Run only the linters.")
@click.option("--unit", is_flag=True, help="Run only the tests that need no lab.")
@click.option("--lab", is_flag=True, help="Run only the tests in a lab of their own.")
@click.option("--upgrade", is_flag=True, help="Run only the upgrade of a lab of the last release.")
@click.option("--secrets", is_flag=True, help="Run only the change of each secret of a lab.")
@click.option("--vagrant", is_flag=True, help="Run only the smallest lab under Vagrant's docker provider.")
@click.option("--vm", is_flag=True, help="Run only the smallest lab on VMs here; slow without KVM.")
@click.option("--roles", is_flag=True, help="Run only the Molecule scenarios, all of them.")
@click.option("--role", "scenarios", multiple=True, metavar="NAME", help="Run only this Molecule scenario.")
@click.option("--keep", is_flag=True, help="Leave the lab of the tests (LAB_NAME=warren-test) running.")
def test(keep: bool, scenarios: tuple[str, ...], **phases: bool) -> int:
    """Run the checks of the project.

    They are linters, unit tests, some Molecule scenarios, the tests of a lab, and a lab under Vagrant.
    """
    from labctl.commands import test as module

    phases["roles"] = phases["roles"] or bool(scenarios)
    chosen = [name for name, wanted in phases.items() if wanted]
    return module.command(chosen, keep=keep, roles=scenarios)


def _os_error(error: OSError) -> str:
    """One sentence for an error of the operating system: files of another user, a full disk."""
    what = f"{error.filename}: " if error.filename else ""
    remedy = "free some space" if error.errno == errno.ENOSPC else "correct that"
    if isinstance(error, PermissionError):
        remedy = "run ./lab as the user who created this lab, or change the owner of its files (chown -R)"
    return f"{what}{error.strerror or error}; {remedy}, then try again."


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run ./lab. Exit status: 0 done, 1 a check failed, 2 wrong usage or missing things, 130 interrupted."""
    surroundings.adopt()
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGHUP, _interrupt)
    try:
        status = cli.main(prog_name="lab", standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except LabError as error:
        _fail(str(error))
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _fail(f"Interrupted; to continue, run the same command again: ./lab {' '.join(sys.argv[1:])}")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        _fail(_os_error(error))
        sys.exit(2)
