"""The lab at a glance during a drill: the document of `status`, without Ansible and so in half a second."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from labctl import context as lab_context
from labctl import report
from labctl.context import Context
from labctl.paths import ROOT
from labctl.substrates.base import distinct

PROGRAM = ROOT / "playbooks" / "files" / "node_status.py"
SECONDS = 30


def look(context: Context) -> dict[str, Any]:
    """Ask every node that runs; one that does not answer in time has not answered."""
    groups = context.substrate.groups()
    states = lab_context.states(context)
    source = PROGRAM.read_text(encoding="utf-8")
    hosts = [host for host in distinct(groups) if states.get(host, "running") == "running"]

    def ask(host: str) -> str:
        own = [group for group, members in groups.items() if host in members]
        words = context.substrate.shell(host, ["python3", "-", *own])
        try:
            done = subprocess.run(
                words,
                check=False,
                capture_output=True,
                text=True,
                input=source,
                timeout=SECONDS * context.substrate.patience(),
            )
        except subprocess.TimeoutExpired:
            return ""
        return done.stdout if done.returncode == 0 else ""

    with ThreadPoolExecutor(max_workers=max(len(hosts), 1)) as pool:
        answers = dict(zip(hosts, pool.map(ask, hosts), strict=True))
    return report.assemble(groups, states, {host: text for host, text in answers.items() if text})
