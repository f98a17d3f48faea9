"""scale: adds worker hosts to a lab that runs, and takes worker hosts away."""

import contextlib
import json
import re
import time
from collections.abc import Sequence

from rich.markup import escape

from labctl.ansible import playbooks
from labctl.commands.up import configure
from labctl.context import Context
from labctl.errors import UsageError
from labctl.lab import state
from labctl.lab.lock import exclusive
from labctl.screen import Step
from labctl.substrates.base import distinct
from labctl.substrates.containers import DockerSubstrate
from labctl.topology.model import GROUPS, Topology

GROUP = "workers"
PLAYBOOK = "operations/scale.yml"


def command(context: Context, wanted: Sequence[str]) -> int:
    """Bring the lab to GROUP=COUNT, or show the number of hosts of each group without an argument."""
    substrate = context.substrate
    if not wanted:
        return _show(context)
    count = parse(wanted)
    if not isinstance(substrate, DockerSubstrate):
        raise UsageError(
            f"./lab scale makes containers, and these hosts are of {substrate.inventory}: change the group"
            f" workers there, and run ./lab run {PLAYBOOK} (docs/how-to/add-a-worker-host.md)."
        )
    started = time.monotonic()
    with exclusive(context.paths, "scale"):
        new, gone = _scale(context, substrate, count)
    names = substrate.groups()[GROUP]
    seconds = time.monotonic() - started
    if context.screen.json:
        print(json.dumps({GROUP: names, "new": new, "gone": gone, "seconds": round(seconds, 1)}, indent=2))
    else:
        changes = [f"{', '.join(names)} {verb}" for names, verb in ((new, "joined"), (gone, "left")) if names]
        context.screen.say(
            f"{len(names)} worker hosts: {'; '.join(changes) or 'nothing to change'} ({seconds:.0f} s)."
        )
    return 0


def parse(wanted: Sequence[str]) -> int:
    """The number in ["workers=5"]; raises UsageError for anything else."""
    group, equals, text = wanted[0].partition("=")
    if len(wanted) > 1 or not equals:
        raise UsageError(f"{' '.join(wanted)!r} is not understood; write it as in ./lab scale workers=5.")
    if group in GROUPS and group != GROUP:
        raise UsageError(
            f"./lab scale changes the number of worker hosts only, not of {group}; for another number of"
            " them, create a lab from a topology of your own (docs/how-to/another-topology.md)."
        )
    if group != GROUP:
        raise UsageError(f"There is no group {group!r}; write it as in ./lab scale workers=5.")
    if not re.fullmatch(r"[1-9][0-9]{0,3}", text):
        raise UsageError(f"workers={text} is no number of hosts, 1 or more; write it as in workers=5.")
    return int(text)


def _show(context: Context) -> int:
    substrate = context.substrate
    found = substrate.groups()
    rows = {group: {"count": len(found[group]), "hosts": found[group]} for group in GROUPS}
    source = ""
    if isinstance(substrate, DockerSubstrate):
        declared = state.declared_topology(context.paths, {})
        source = declared.source
        for group, row in rows.items():
            row["declared"] = len(declared.group(group))
    if context.screen.json:
        print(json.dumps(rows, indent=2))
        return 0
    context.screen.table(
        [
            {"group": group, "hosts": str(row["count"])}
            | ({f"in {escape(source)}": str(row["declared"])} if source else {})
            | {"names": escape(", ".join(found[group]))}
            for group, row in rows.items()
        ]
    )
    return 0


def _scale(context: Context, substrate: DockerSubstrate, count: int) -> tuple[list[str], list[str]]:
    """Take hosts away, or add some; returns the names of the new and of the removed ones."""
    paths, screen = context.paths, context.screen
    before = substrate.topology()
    _refuse_shared(before)
    declared = len(state.declared_topology(paths, {}).group(GROUP))
    counts = {} if count == declared else {GROUP: count}
    wanted = {node.name for node in _scaled(context, before, count).nodes}
    leaving = [node.name for node in before.nodes if node.name not in wanted]
    present = substrate.containers()
    known = {node.name for node in before.nodes}
    # Those of a count that was lowered in the file: the inventory does not have them.
    surplus = [name for name in present if name.startswith("worker-") and name not in wanted | known]
    if leaving:
        if any(found != "running" for name, found in substrate.states().items() if name not in leaving):
            substrate.make(screen)  # what stays must answer
        with screen.step("drain the hosts that leave") as step:
            _play(context, step, {"scale_remove": ",".join(leaving)})
            step.result = ", ".join(leaving)
    if leaving or surplus:
        with screen.step("remove them") as step:
            substrate.remove([*leaving, *surplus])
            step.result = ", ".join([*leaving, *surplus])
    made = substrate.make(screen, counts)
    new = substrate.unfinished()
    if not substrate.is_installed() or not set(new) <= set(substrate.groups()[GROUP]):
        configure(context, made.hosts)
    elif new:
        with screen.step("configure the new hosts") as step:
            _play(context, step, {"scale_add": ",".join(new)})
            step.result = ", ".join(new)
    substrate.remember_installed()
    return new, [*leaving, *surplus]


def _scaled(context: Context, before: Topology, count: int) -> Topology:
    """The topology with this number of worker hosts; UsageError when it has too few addresses for them."""
    most = len(before.group(GROUP))
    try:
        return state.declared_topology(context.paths, {GROUP: count})
    except UsageError:
        with contextlib.suppress(UsageError):
            while state.declared_topology(context.paths, {GROUP: most + 1}):
                most += 1
        raise UsageError(
            f"workers={count} is too many: {before.source} has addresses for {most} worker hosts; give a"
            " smaller number, or change the addresses there and create the lab again."
        ) from None


def _play(context: Context, step: Step, variables: dict[str, object]) -> None:
    substrate = context.substrate
    arguments = ["--forks", str(len(distinct(substrate.groups()))), "--tags", "hosts"]
    if substrate.is_installed():
        arguments += ["--skip-tags", "install"]
    inventory = substrate.inventory
    playbooks.run(
        context.paths, PLAYBOOK, step, inventory=inventory, arguments=arguments, variables=variables
    )


def _refuse_shared(lab: Topology) -> None:
    shared = next((node for node in lab.group(GROUP) if node.kind != GROUP), None)
    if shared:
        others = ", ".join(group for group in (shared.group, *shared.sharing) if group != GROUP)
        raise UsageError(
            f"{shared.name} is in {others} too, so its group cannot be scaled; give the workers hosts of"
            f" their own in {lab.source}, and create the lab again."
        )
