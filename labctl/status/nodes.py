"""The lab at a glance during a drill: the document of `status`, without Ansible and so in half a second."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from labctl import context as lab_context
from labctl.context import Context
from labctl.errors import LabError
from labctl.paths import ROOT
from labctl.programs.remote import output
from labctl.status import report
from labctl.substrates.base import distinct

PROGRAM = ROOT / "playbooks" / "files" / "node_status.py"
SECONDS = 30.0


def look(context: Context) -> dict[str, Any]:
    """Ask every node that runs; one that does not answer in time has not answered."""
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

    with ThreadPoolExecutor(max_workers=max(len(hosts), 1)) as pool:
        answers = dict(zip(hosts, pool.map(ask, hosts), strict=True))
    return report.assemble(groups, states, {host: text for host, text in answers.items() if text})
