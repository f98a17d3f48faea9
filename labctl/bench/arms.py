"""Running the arms of a suite: interleaved, one of them twice, with what the nodes use in each run."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from labctl.bench.figures import AGAIN, ArmResult, Run, SuiteResult
from labctl.bench.usage import Meter
from labctl.screen import Step


def _nothing() -> None:
    return None


@dataclass(frozen=True)
class Arm:
    """One of the things that a suite compares. What the nodes use during `prepare` does not count."""

    name: str
    run: Callable[[], Run]
    prepare: Callable[[], None] = _nothing


@dataclass(frozen=True)
class Suite:
    """A suite that is ready to run. `guard`: the arm that runs twice in each round."""

    about: str
    arms: Sequence[Arm]
    guard: Arm


def order(suite: Suite, repeats: int) -> Iterator[Arm]:
    """The runs in order: ABC A BC A ..., so that a change of the machine meets all arms alike."""
    for _ in range(repeats):
        yield from suite.arms
        yield replace(suite.guard, name=suite.guard.name + AGAIN)


def measure(name: str, suite: Suite, meter: Meter, step: Step, *, repeats: int, idle_s: float) -> SuiteResult:
    """Run all arms `repeats` times. `idle_s`: seconds for which the idle lab is measured. Raises LabError."""
    started = time.monotonic()
    step.update("the idle lab")
    before = meter.read()
    time.sleep(idle_s)
    idle = meter.a_second(before, meter.read())
    results: dict[str, ArmResult] = {}
    runs = list(order(suite, repeats))
    load_average = os.getloadavg()[0]
    for number, arm in enumerate(runs, start=1):
        step.update(f"run {number} of {len(runs)}: {arm.name}")
        arm.prepare()
        before = meter.read()
        run = arm.run()
        used = meter.used(before, meter.read(), idle)
        results.setdefault(arm.name, ArmResult(arm.name)).add(run, used)
    seconds = time.monotonic() - started
    return SuiteResult(name, suite.about, idle, load_average, list(results.values()), seconds)
