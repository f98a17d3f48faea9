"""Pytest plugin: one JSON line per test on the real stdout, as labctl.testing.checks reads it."""

import json
import os
import sys

import pytest

# Plugins named on the command line are loaded before pytest captures output.
_out = os.fdopen(os.dup(sys.__stdout__.fileno() if sys.__stdout__ else 1), "w", encoding="utf-8", buffering=1)


def _event(event: str, **fields: object) -> None:
    # pytest may have written a part of a line
    _out.write(f"\n{json.dumps({'event': event, **fields})}\n")


def pytest_collection_finish(session: pytest.Session) -> None:
    _event("collected", count=len(session.items))


def pytest_runtest_logstart(nodeid: str) -> None:
    _event("test", id=nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        _event("failed", id=report.nodeid or "collection", message=report.longreprtext[-2000:])


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        _event("failed", id=report.nodeid, message=_reason(report))
    elif report.skipped:
        _event("skipped", id=report.nodeid)
    elif report.when == "call":
        _event("passed", id=report.nodeid)


def _reason(report: pytest.TestReport) -> str:
    """The assertion itself, which pytest marks with E, else the end of the report."""
    lines = report.longreprtext.splitlines()
    marked = [line[1:].strip() for line in lines if line.startswith("E ")]
    return "\n".join(marked[:12] or lines[-12:])
