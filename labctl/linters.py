"""The linters, each as one check; the same commands run before a commit (.pre-commit-config.yaml)."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from labctl import ansible, process
from labctl.junit import Case
from labctl.paths import ROOT, LabPaths, lab_paths
from labctl.screen import Screen

_SHOWN_LINES = 40


def commands() -> dict[str, list[str]]:
    """Each linter's command line, run from the project's folder."""
    programs = Path(sys.executable).parent
    python = _existing(
        "labctl", "celery_durable", "app", "tests", "images", "inventories", "playbooks", "roles"
    )
    typed = _existing("labctl", "images", "inventories", "playbooks/files", "tests")
    return {
        "ruff": [str(programs / "ruff"), "check", "--no-cache", *python],
        "ruff-format": [str(programs / "ruff"), "format", "--check", "--no-cache", *python],
        "mypy": [str(programs / "mypy"), *typed],
        "mypy-app": [str(programs / "mypy"), "app/src", "celery_durable/src"],
        "yamllint": [str(programs / "yamllint"), "--strict", "."],
        "ansible-lint": [str(programs / "ansible-lint"), "--offline", "--strict", "--nocolor", "-q"],
    }


def _existing(*names: str) -> list[str]:
    return [name for name in names if (ROOT / name).exists()]


def run(paths: LabPaths, screen: Screen, prefix: str = "") -> list[Case]:
    """Run the linters whose name begins so; a failed one's findings are shown and kept in its case."""
    environment = ansible.environment(paths, mitogen=False)
    environment["NO_COLOR"] = "1"
    cases: list[Case] = []
    for name, command in commands().items():
        if not name.startswith(prefix):
            continue
        lines: list[str] = []
        started = time.monotonic()
        with screen.step(name) as step:
            status = process.stream(command, lines.append, environment=environment)
            step.ok = status == 0
            step.result = "clean" if step.ok else "FAILED"
        failure = "" if status == 0 else "\n".join(lines) or f"exit status {status}"
        if failure:
            screen.fail("\n".join(f"    {line}" for line in failure.splitlines()[-_SHOWN_LINES:]))
        cases.append(Case(name, time.monotonic() - started, failure))
    return cases


def main() -> None:
    """Run the linters whose name begins with the argument: how a Git hook calls one of them."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    cases = run(lab_paths(), Screen(), wanted)
    sys.exit(1 if any(case.failure for case in cases) else 0)


if __name__ == "__main__":
    main()
