"""Runs pytest suites with live progress, a log and a JUnit report each."""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

from labctl.lab.files import make_private
from labctl.paths import ROOT
from labctl.programs import process
from labctl.screen import Step

SHOWN_ALIKE = 3
NO_TESTS = 5  # pytest's exit status when nothing was collected


@dataclass(frozen=True)
class FailedTest:
    """A test that failed: its pytest id and the assertion."""

    test: str
    message: str


@dataclass
class Suite:
    """Outcome of one pytest run."""

    name: str
    report: Path
    log: Path
    status: int = 0
    seconds: float = 0.0
    passed: int = 0
    skipped: int = 0
    failures: list[FailedTest] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return self.status == 0 and not self.failures

    def as_json(self) -> dict[str, Any]:
        """{"passed", "failed", "skipped", "seconds", "failures": [{"test", "message"}]}"""
        return {
            "passed": self.passed,
            "failed": len(self.failures),
            "skipped": self.skipped,
            "seconds": round(self.seconds, 1),
            "failures": [asdict(failure) for failure in self.failures],
        }

    def failure_lines(self) -> list[str]:
        """The failed tests with their assertions, each assertion once, and where the rest is."""
        alike: dict[str, list[str]] = {}
        for failure in self.failures:
            alike.setdefault(failure.message, []).append(failure.test)
        lines: list[str] = []
        for message, tests in alike.items():
            lines += [f"FAILED {test}" for test in tests[:SHOWN_ALIKE]]
            if len(tests) > SHOWN_ALIKE:
                lines.append(f"FAILED and {len(tests) - SHOWN_ALIKE} more in the same way")
            lines += [f"    {line}" for line in message.splitlines()]
        if lines:
            log = self.log.relative_to(ROOT) if self.log.is_relative_to(ROOT) else self.log
            lines.append(f"  log: {log}")
        return lines

    def sentence(self) -> str:
        """One line for the screen."""
        parts = [f"{self.passed} passed"]
        if self.failures:
            parts.append(f"{len(self.failures)} failed")
        if self.skipped:
            parts.append(f"{self.skipped} skipped")
        return ", ".join(parts)


def run(
    name: str,
    arguments: Sequence[str],
    reports: Path,
    step: Step,
    *,
    environment: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
    python: Path | None = None,
) -> Suite:
    """Run pytest with these arguments; leaves `<name>.xml` (JUnit) and `<name>.log` in `reports`.

    `python` is the interpreter of another environment than this one.
    """
    make_private(reports)
    suite = Suite(name, reports / f"{name}.xml", reports / f"{name}.log")
    suite.report.unlink(missing_ok=True)
    command = [
        str(python or sys.executable),
        "-m",
        "pytest",
        "-p",
        "labctl.testing.pytest_progress",
        "-p",
        "no:cacheprovider",
    ]
    command += ["--color=no", f"--junitxml={suite.report}", "-o", f"junit_suite_name={name}", *arguments]
    started = time.monotonic()
    descriptor = os.open(suite.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as log:
        on_line = _Reader(suite, step, log).line
        suite.status = process.stream(command, on_line, environment=_seen_by(python, environment), cwd=cwd)
    suite.seconds = time.monotonic() - started
    if suite.status == NO_TESTS:
        suite.failures.append(FailedTest(name, "no test was found"))
    elif suite.status != 0 and not suite.failures:
        suite.failures.append(FailedTest(name, _ending(suite.log)))
    step.ok, step.result = suite.ok, suite.sentence()
    return suite


def _seen_by(python: Path | None, environment: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """The environment with the programs of another Python before all others."""
    if python is None:
        return environment
    given = dict(os.environ if environment is None else environment)
    return given | {"PATH": f"{python.parent}{os.pathsep}{given.get('PATH', os.defpath)}"}


class _Reader:
    """Turns events of pytest_progress into a Suite and the step's detail; other lines go to the log."""

    def __init__(self, suite: Suite, step: Step, log: TextIO) -> None:
        self._suite = suite
        self._step = step
        self._log = log
        self._total = 0
        self._running = ""

    def line(self, text: str) -> None:
        if not text.startswith('{"event":'):
            if text:
                self._log.write(f"{text}\n")
            return
        event = json.loads(text)
        match event["event"]:
            case "collected":
                self._total = event["count"]
            case "test":
                self._running = event["id"].rpartition("/")[2]
            case "passed":
                self._suite.passed += 1
            case "skipped":
                self._suite.skipped += 1
            case "failed":
                self._suite.failures.append(FailedTest(event["id"], event["message"]))
        done = self._suite.passed + self._suite.skipped + len(self._suite.failures)
        failed = f", {len(self._suite.failures)} failed" if self._suite.failures else ""
        self._step.update(f"{done}/{self._total}{failed} · {self._running}")


def _ending(log: Path) -> str:
    lines = [line for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
    return "\n".join(lines[-8:]) or "pytest ended without output"
