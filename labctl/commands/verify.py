"""verify: checks that every node is as its role promises."""

import json
from pathlib import Path

from labctl import context as lab_context
from labctl.ansible import playbooks
from labctl.context import Context
from labctl.substrates.base import distinct
from labctl.testing import checks


def environment(context: Context) -> dict[str, str]:
    """Environment of a test that reaches the lab's hosts."""
    return playbooks.environment(
        context.paths,
        mitogen=False,
        extra={"LAB_URL": context.substrate.url(), "LAB_STATE_DIR": str(context.paths.state)},
    )


def require_commands(context: Context) -> None:
    """Raise UsageError for a host on which commands without a terminal cannot run."""
    for node in distinct(context.substrate.groups()):
        context.substrate.shell(node, ["true"])


def run(
    context: Context,
    *,
    disruptive: bool = False,
    select: str = "",
    reports: Path | None = None,
    name: str = "verify",
) -> checks.Suite:
    """Run tests/nodes against the lab, with `disruptive` also those that break something on purpose.

    `name`: of the report, where several labs share the folder `reports`.
    """
    lab_context.states(context)
    require_commands(context)
    arguments = ["tests/nodes", f"--ansible-inventory={context.substrate.inventory}"]
    if not disruptive:
        arguments += ["-m", "not disruptive"]
    if select:
        arguments += ["-k", select]
    with context.screen.step("verify the nodes") as step:
        suite = checks.run(
            name,
            arguments,
            reports or context.paths.state / "reports",
            step,
            environment=environment(context),
        )
    for line in suite.failure_lines():
        context.screen.fail(line)
    return suite


def command(context: Context, *, disruptive: bool, select: str) -> int:
    suite = run(context, disruptive=disruptive, select=select)
    if context.screen.json:
        print(json.dumps(suite.as_json(), indent=2))
    return 0 if suite.ok else 1
