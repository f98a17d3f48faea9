"""The linters, each as one check; the same commands run before a commit (.pre-commit-config.yaml)."""

import sys
import time
from pathlib import Path

from labctl.ansible import playbooks
from labctl.paths import ROOT, LabPaths, lab_paths
from labctl.programs import process
from labctl.screen import Screen
from labctl.testing.junit import Case

_SHOWN_LINES = 40


def commands() -> dict[str, list[str]]:
    """Each linter's command line, run from the project's folder."""
    programs = Path(sys.executable).parent
    folders = "labctl celery_durable app examples tour tests images inventories playbooks roles"
    own = folders.split()
    python = _existing(*own)
    typed = _existing("labctl", "tour/lesson.py", "images", "inventories", "playbooks/files", "tests")
    pages = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs", "molecule", "lab", "Vagrantfile")
    written = _existing(*own, *pages)
    schema = [str(programs / "check-jsonschema"), "--builtin-schema"]
    return {
        "ruff": [str(programs / "ruff"), "check", "--no-cache", *python],
        "ruff-format": [str(programs / "ruff"), "format", "--check", "--no-cache", *python],
        "mypy": [str(programs / "mypy"), *typed],
        "mypy-app": [str(programs / "mypy"), "celery_durable/src", "app/src"],
        "yamllint": [str(programs / "yamllint"), "--strict", "."],
        "ansible-lint": [str(programs / "ansible-lint"), "--offline", "--strict", "--nocolor", "-q"],
        "codespell": [str(programs / "codespell"), *written],
        "words": [sys.executable, "-m", "labctl.testing.words", *written],
        "links": [sys.executable, "-m", "labctl.testing.links"],
        "github-ci": [*schema, "vendor.github-workflows", ".github/workflows/ci.yml"],
        "gitlab-ci": [*schema, "vendor.gitlab-ci", "--data-transform=gitlab-ci", ".gitlab-ci.yml"],
    }


def _existing(*names: str) -> list[str]:
    return [name for name in names if (ROOT / name).exists()]


def run(paths: LabPaths, screen: Screen, prefix: str = "") -> list[Case]:
    """Run the linters whose name begins so; a failed one's findings are shown and kept in its case."""
    environment = playbooks.environment(paths, mitogen=False)
    environment["NO_COLOR"] = "1"
    cases: list[Case] = []
    for name, command in commands().items():
        if not name.startswith(prefix):
            continue
        started = time.monotonic()
        with screen.step(name) as step:
            done = process.follow(command, step, environment=environment)
            step.ok = done.ok
            step.result = "clean" if step.ok else "FAILED"
        failure = "" if done.ok else "\n".join(done.lines) or f"exit status {done.status}"
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
