"""The journals of the nodes, from a drill that did not end as expected."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from labctl.context import Context
from labctl.errors import LabError
from labctl.programs.remote import output
from labctl.substrates.base import distinct


def keep(context: Context, target: Path, since: float) -> None:
    """Save the journal of every node since this time (seconds since 1970) as `<target>/<node>.log`."""
    target.mkdir(parents=True, exist_ok=True)
    command = ["journalctl", "--no-pager", "--output=short-iso-precise", f"--since=@{since:.0f}"]

    def read(node: str) -> None:
        try:
            text = output(context.substrate, node, command)
        except LabError as error:
            text = f"{error}\n"
        (target / f"{node}.log").write_text(text, encoding="utf-8")

    nodes = distinct(context.substrate.groups())
    with ThreadPoolExecutor(max_workers=len(nodes)) as pool:
        list(pool.map(read, nodes))
