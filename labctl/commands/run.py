"""run: any playbook of the project, with labctl's environment, progress and log."""

from pathlib import Path

from labctl.ansible import playbooks
from labctl.context import Context
from labctl.errors import UsageError
from labctl.lab.lock import exclusive
from labctl.paths import ROOT


def command(context: Context, name: str, arguments: list[str]) -> int:
    """Run playbooks/<name>[.yml]; arguments go to ansible-playbook as they are."""
    folder = ROOT / "playbooks"
    file = _find(folder, name)
    with exclusive(context.paths, "run"), context.screen.step(f"run {file.relative_to(folder)}") as step:
        run = playbooks.run(
            context.paths,
            str(file.relative_to(folder)),
            step,
            inventory=context.substrate.inventory,
            arguments=arguments,
        )
        step.result = f"{len(run.recap)} hosts, changed={run.changed}"
    log = run.log.relative_to(ROOT) if run.log.is_relative_to(ROOT) else run.log
    context.screen.say(f"  log: {log}")
    return 0


def _find(folder: Path, name: str) -> Path:
    for candidate in (folder / name, folder / f"{name}.yml", Path(name)):
        file = candidate.resolve()
        if file.is_file() and file.is_relative_to(folder):
            return file
    known = sorted(
        str(file.relative_to(folder)).removesuffix(".yml") for file in folder.rglob("*.yml") if _is_play(file)
    )
    raise UsageError(f"There is no playbook {name!r}; there are {', '.join(known)}.")


def _is_play(file: Path) -> bool:
    parts = set(file.parts)
    return not parts & {"group_vars", "files", "templates", "vars", "tasks"} and file.name != "vars.yml"
