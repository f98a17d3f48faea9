"""run: any playbook of the project, with labctl's environment, progress and log."""

import itertools
import json
from pathlib import Path

from rich.markup import escape

from labctl.ansible import playbooks
from labctl.context import Context
from labctl.errors import UsageError
from labctl.lab.files import shown
from labctl.lab.lock import exclusive
from labctl.paths import ROOT

# Not for users: parts of other commands, and files without plays.
_OTHERS = {"drills", "substrate", "group_vars", "files", "templates", "vars", "tasks", "vars.yml"}


def command(context: Context, name: str, arguments: list[str]) -> int:
    """Run playbooks/<name>[.yml]; arguments go to ansible-playbook as they are."""
    file = str(_find(ROOT / "playbooks", name).relative_to(ROOT / "playbooks"))
    inventory = context.substrate.inventory
    with exclusive(context.paths, "run"), context.screen.step(f"run {file}") as step:
        run = playbooks.run(context.paths, file, step, inventory=inventory, arguments=arguments)
        step.result = run.summary()
    context.screen.say(f"  log: {shown(run.log)}")
    return 0


def listing(context: Context) -> int:
    """Print the playbooks for users, each with the comment at its top."""
    found = known(ROOT / "playbooks")
    if context.screen.json:
        print(json.dumps([{"name": name, "summary": text} for name, text in found.items()], indent=2))
    else:
        rows = [{"playbook": name, "what it does": escape(text)} for name, text in found.items()]
        context.screen.table(rows)
    return 0


def known(folder: Path) -> dict[str, str]:
    """The playbooks for users: name -> the first sentence of the comment at the top."""
    files = sorted(file.relative_to(folder) for file in folder.rglob("*.yml"))
    return {
        str(file.with_suffix("")): _summary((folder / file).read_text(encoding="utf-8"))
        for file in files
        if _OTHERS.isdisjoint(file.parts)
    }


def _summary(text: str) -> str:
    lines = itertools.takewhile(lambda line: line.startswith("#"), text.removeprefix("---\n").splitlines())
    return " ".join(line.lstrip("# ") for line in lines).partition(". ")[0].rstrip(".")


def _find(folder: Path, name: str) -> Path:
    for candidate in (folder / name, folder / f"{name}.yml", Path(name)):
        file = candidate.resolve()
        if file.is_file() and file.is_relative_to(folder):
            return file
    raise UsageError(f"There is no playbook {name!r}; there are {', '.join(known(folder))}.")
