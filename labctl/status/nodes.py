"""Asks every node how it is, all at the same time: a program is piped to each, nothing is needed there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from labctl import context as lab_context
from labctl.context import Context
from labctl.errors import LabError
from labctl.programs.remote import output
from labctl.status import report
from labctl.substrates.base import distinct

PROGRAM = Path(__file__).with_name("node_status.py")
SECONDS = 30.0


def read(context: Context, *, show: bool = False) -> dict[str, Any]:
    """The document of `status --json`; a node that does not answer in time has not answered.

    With `show` it is a step on the screen.
    """
    substrate = context.substrate
    groups = substrate.groups()
    states = lab_context.states(context)
    source = PROGRAM.read_text(encoding="utf-8")
    hosts = [host for host in distinct(groups) if states.get(host, "running") == "running"]

    def ask(host: str) -> str:
        own = [group for group, members in groups.items() if host in members]
        try:
            return output(
                substrate, host, ["python3", "-", *own], stdin=source, seconds=SECONDS * substrate.patience()
            )
        except LabError:
            return ""

    with (
        context.screen.step("ask the nodes") if show else nullcontext() as step,
        ThreadPoolExecutor(max_workers=max(len(hosts), 1)) as pool,
    ):
        answers = {host: text for host, text in zip(hosts, pool.map(ask, hosts), strict=True) if text}
        if step:
            step.result = f"{len(answers)} of {len(hosts)} answered"
    return report.assemble(groups, states, answers)
