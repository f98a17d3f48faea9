"""run: any playbook of the project, with labctl's environment, progress and log."""

from pathlib import Path

from labctl.ansible import playbooks
from labctl.context import Context
from labctl.errors import UsageError
from labctl.lab.files import shown
from labctl.lab.lock import exclusive
from labctl.paths import ROOT

_NO_PLAYS = {"group_vars", "files", "templates", "vars", "tasks", "vars.yml"}


def command(context: Context, name: str, arguments: list[str]) -> int:
    """Run playbooks/<name>[.yml]; arguments go to ansible-playbook as they are."""
    file = str(_find(ROOT / "playbooks", name).relative_to(ROOT / "playbooks"))
    inventory = context.substrate.inventory
    with exclusive(context.paths, "run"), context.screen.step(f"run {file}") as step:
        run = playbooks.run(context.paths, file, step, inventory=inventory, arguments=arguments)
        step.result = run.summary()
    context.screen.say(f"  log: {shown(run.log)}")
    return 0


def _find(folder: Path, name: str) -> Path:
    for candidate in (folder / name, folder / f"{name}.yml", Path(name)):
        file = candidate.resolve()
        if file.is_file() and file.is_relative_to(folder):
            return file
    files = [file.relative_to(folder) for file in folder.rglob("*.yml")]
    known = sorted(str(file.with_suffix("")) for file in files if _NO_PLAYS.isdisjoint(file.parts))
    raise UsageError(f"There is no playbook {name!r}; there are {', '.join(known)}.")
