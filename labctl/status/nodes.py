"""The state of the lab that a command works on."""

from contextlib import nullcontext
from typing import Any

from labctl import context as lab_context
from labctl.context import Context
from labctl.errors import LabError, UsageError
from labctl.programs.remote import output
from labctl.status import report

SECONDS = 30.0


def read(context: Context, *, show: bool = False) -> dict[str, Any]:
    """The document of `status --json`; with `show` it is a step on the screen."""
    substrate = context.substrate
    states = lab_context.states(context)
    source = report.PROGRAM.read_text(encoding="utf-8")

    def ask(host: str, groups: list[str]) -> str:
        seconds = SECONDS * substrate.patience()
        try:
            return output(substrate, host, ["python3", "-", *groups], stdin=source, seconds=seconds)
        except UsageError:
            raise
        except LabError:
            return ""

    with context.screen.step("ask the nodes") if show else nullcontext() as step:
        status = report.read(substrate.groups(), states, ask)
        if step:
            absent = sum(node["state"] in ("stopped", "missing", "unreachable") for node in status["nodes"])
            step.result = f"{len(status['nodes']) - absent} of {len(status['nodes'])} answered"
    return status
