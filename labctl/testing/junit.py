"""JUnit reports of checks that are not pytest's, and sums over reports."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self
from xml.etree import ElementTree


@dataclass(frozen=True)
class Case:
    """One check: its name, how long it took, and why it failed ("" when it passed)."""

    name: str
    seconds: float
    failure: str = ""


@dataclass(frozen=True)
class Totals:
    """Tests that passed, failed (errors included) and were skipped."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Self) -> Self:
        return type(self)(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def __str__(self) -> str:
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


def write(file: Path, suite: str, cases: Sequence[Case]) -> None:
    """Write a JUnit report of one suite."""
    failed = [case for case in cases if case.failure]
    top = ElementTree.Element("testsuites")
    element = ElementTree.SubElement(
        top,
        "testsuite",
        name=suite,
        tests=str(len(cases)),
        failures=str(len(failed)),
        errors="0",
        skipped="0",
        time=f"{sum(case.seconds for case in cases):.3f}",
    )
    for case in cases:
        item = ElementTree.SubElement(
            element, "testcase", classname=suite, name=case.name, time=f"{case.seconds:.3f}"
        )
        if case.failure:
            text = "".join(letter for letter in case.failure if letter.isprintable() or letter in "\n\t")
            ElementTree.SubElement(item, "failure", message=text.partition("\n")[0][:200]).text = text
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    ElementTree.ElementTree(top).write(file, encoding="utf-8", xml_declaration=True)


def totals(files: Iterable[Path]) -> Totals:
    """Sum of reports; a missing or broken one counts as a failure, as its suite did not end well."""
    return sum((_totals(file) for file in files), Totals())


def _totals(file: Path) -> Totals:
    try:
        root = ElementTree.parse(file).getroot()  # noqa: S314 - written by this command a moment ago
    except (OSError, ElementTree.ParseError):
        return Totals(failed=1)
    result = Totals()
    for suite in root.iter("testsuite"):
        tests, failures, errors, skipped = (
            int(suite.get(key, "0")) for key in ("tests", "failures", "errors", "skipped")
        )
        bad = failures + errors
        result += Totals(max(tests - bad - skipped, 0), bad, skipped)
    return result
