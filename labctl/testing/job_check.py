"""The end of a load of jobs in a test: each accepted job is done, and each answer was one for users."""

import time
from pathlib import Path

from labctl.drills.job_load import JobLoad
from labctl.errors import LabError
from labctl.lab.files import make_private

ENDED_S = 120.0


def finish(load: JobLoad, report: Path, patience: float) -> str:
    """Stop the load, wait for its jobs and return a summary; raises LabError when one is not done."""
    load.stop()
    deadline = time.monotonic() + ENDED_S * patience
    while load.counts.executed < load.counts.confirmed and time.monotonic() < deadline:
        time.sleep(1)
    make_private(report.parent)
    found = load.read_back(report)
    wrong = [*found.bad_answers, *found.not_done, *found.miscounted, *found.incomplete]
    if wrong or not found.jobs:
        sentences = "; ".join(map(str, wrong[:5])) or "no job was accepted"
        raise LabError(f"Of {len(found.jobs)} jobs that were accepted, or their answers: {sentences}.")
    return str(found.summary())
