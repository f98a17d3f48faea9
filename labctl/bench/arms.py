"""Running the arms of a suite: interleaved, one of them twice, with what the nodes use in each run."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from labctl.bench.figures import AGAIN, ArmResult, Run, SuiteResult
from labctl.bench.usage import Meter, Reading, Use, median
from labctl.screen import Step


def _nothing() -> None:
    return None


@dataclass(frozen=True)
class Arm:
    """One of the things that a suite compares. What the nodes use during `prepare` does not count.

    `base`: the name of the arm that it is compared with, "" for none.
    """

    name: str
    run: Callable[[], Run]
    prepare: Callable[[], None] = _nothing
    base: str = ""


@dataclass(frozen=True)
class Suite:
    """A suite that is ready to run. `guard`: the arm that runs twice in each round."""

    about: str
    arms: Sequence[Arm]
    guard: Arm

    def one_round(self) -> Iterator[Arm]:
        """The arms in turn, so that a change of the machine affects all alike; one of them again."""
        yield from self.arms
        yield replace(self.guard, name=self.guard.name + AGAIN, base=self.guard.name)


def measure(name: str, suite: Suite, meter: Meter, step: Step, *, repeats: int, idle_s: float) -> SuiteResult:
    """Run all arms `repeats` times. Raises LabError.

    `idle_s`: seconds for which the idle lab is measured in each round. The median of the rounds is subtracted
    from the use of each run.
    """
    started, load_average = time.monotonic(), os.getloadavg()[0]
    idle: list[dict[str, Use]] = []
    readings: list[tuple[Arm, Run, Reading, Reading]] = []
    for number in range(1, repeats + 1):
        step.update(f"round {number} of {repeats}: the idle lab")
        before = meter.read()
        time.sleep(idle_s)
        idle.append(meter.a_second(before, meter.read()))
        for arm in suite.one_round():
            step.update(f"round {number} of {repeats}: {arm.name}")
            arm.prepare()
            before = meter.read()
            run = arm.run()
            readings.append((arm, run, before, meter.read()))
    results: dict[str, ArmResult] = {}
    usual = median(idle)
    for arm, run, before, after in readings:
        result = results.setdefault(arm.name, ArmResult(arm.name, arm.base))
        result.add(run, meter.used(before, after, usual))
    seconds = time.monotonic() - started
    return SuiteResult(name, suite.about, usual, load_average, list(results.values()), seconds)
