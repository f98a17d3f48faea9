"""Runs a drill: load, fault, heal, drain, and the ledger read back."""

import random
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from labctl.context import Context
from labctl.drills.application import AS_IT_IS, WRAPPER, Application, Prepared, Variant, lacking
from labctl.drills.application_load import ApplicationLoad
from labctl.drills.definition import Drill, Fault, Series
from labctl.drills.injection import Injector
from labctl.drills.ledger import Ledger, add_up
from labctl.drills.load import Load, NotHeldError
from labctl.drills.metrics import Window, measure
from labctl.drills.result import Result, Round
from labctl.drills.targets import Targets
from labctl.drills.task_load import TaskLoad
from labctl.errors import LabError, UsageError
from labctl.screen import Step
from labctl.status import nodes

WARM_UP_S = 4.0
FIRST_S = 30.0
RECOVERED_S = 90.0
SETTLED_S = 45.0
DRAIN_S = 90.0
STALLED_S = 20.0  # without one more task that ends, an own application's run is over
QUIET_S = 3.0  # the same, if its queue is empty too: what is missing is lost
POLL_S = 0.25
LOOK_S = 2.0  # a look at every node costs as much CPU as a second of the load
CALM_S = 2.0  # after a look, so that the fault meets the load alone


@dataclass(frozen=True)
class Run:
    """A series with the lab's own load, or with an own application. `run` is a name of its own."""

    series: Series
    run: str
    seed: int
    folder: Path
    application: Application | None = None
    variant: Variant = AS_IT_IS

    @property
    def profile(self) -> str:
        return str(self.variant) if self.application else "lab"

    @property
    def key(self) -> str:
        """For names of files."""
        return self.variant.key if self.application else "lab"


def execute(context: Context, run: Run, step: Step) -> Result:
    """Run it and read the ledger back; the expectations are the caller's. Raises LabError and UsageError.

    Whatever happens, what was broken is healed and what was started ends.
    """
    return _Execution(context, run, step).result()


@dataclass(frozen=True)
class _PastRound:
    """A round that is over; times since 1970. `dead`: units that are to be dead letters."""

    drill: Drill
    fault: Fault
    injected: float
    healed: float
    recovered: float | None
    problems: tuple[str, ...]
    held: int | None
    dead: tuple[int, ...]


class _Execution:
    def __init__(self, context: Context, run: Run, step: Step) -> None:
        self._context = context
        self._run = run
        self._step = step
        self._patience = context.substrate.patience()
        self._groups = context.substrate.groups()
        self._doing = ""
        self._rounds: list[_PastRound] = []
        self._ended_early = ""
        self._queues: dict[str, Any] = {}  # as the latest look at a healthy lab found them

    def result(self) -> Result:
        if problems := self._problems_after(SETTLED_S, "check the lab"):
            raise UsageError(f"The lab is not healthy before the drill: {problems[0]} ./lab up repairs it.")
        self._run.folder.mkdir(parents=True, exist_ok=True)
        if self._run.application:
            return self._with_application(self._run.application)
        return self._under_load()

    def _with_application(self, application: Application) -> Result:
        run = self._run
        self._tell(f"start the workers of {application.name}, {run.variant}")
        with Prepared(self._context, self._step, application, run.variant, run.run, run.folder):
            result = self._under_load()
            result.without = run.variant.without
            if run.variant == AS_IT_IS:
                self._tell("read the settings")
                drills = {drill.name for drill in run.series.drills}
                found = lacking(self._context, application)
                result.lacking = [finding for finding in found if drills & set(finding.drills)]
        return result

    def _under_load(self) -> Result:
        run = self._run
        with self._load() as load:
            broken = Injector(self._context, self._step, load.now)
            begin = load.now()
            try:
                self._warm_up(load)
                for number, drill in enumerate(run.series.drills, start=1):
                    self._doing = f"{number}/{len(run.series.drills)} {drill.name}"
                    self._round(load, broken, drill, random.Random(f"{run.seed}:{number}"))  # noqa: S311 - no secret
            except NotHeldError as error:
                # After a power cut a plain worker is locked out by its old connection for minutes.
                if not run.application or not self._rounds:
                    raise
                self._ended_early = str(error)
            finally:
                for complaint in broken.heal_all():
                    self._context.screen.fail(complaint)
            end = load.stop()
            drained = self._drain(load)
            self._tell("read the ledger", load)
            ledger = load.read_back(run.folder / f"ledger-{run.key}.json")
        return self._result(ledger, Window(begin, end), drained)

    def _load(self) -> Load:
        run, substrate = self._run, self._context.substrate
        if run.series.jobs:
            from labctl.console_api import Console
            from labctl.drills.job_load import JobLoad  # with Pillow

            console = Console(substrate.url(), self._context.paths, substrate.console_password())
            return JobLoad(console, self._patience)
        limit = self._patience * (120.0 + sum(d.duration + d.settle + RECOVERED_S for d in run.series.drills))
        log = run.folder / f"load-{run.key}.log"
        if run.application:
            target = WRAPPER if run.variant.durable else run.application.target
            publisher = replace(run.application, target=target)
            return ApplicationLoad(substrate, self._groups, publisher, run=run.run, limit=limit, log=log)
        return TaskLoad(substrate, self._groups["gateways"][0], run=run.run, limit=limit, log=log)

    def _warm_up(self, load: Load) -> None:
        self._watch(load, WARM_UP_S, "warm up")
        limit = FIRST_S * self._patience
        deadline = time.monotonic() + limit
        while load.counts.executed == 0:
            if time.monotonic() > deadline:
                raise LabError(
                    f"No task of the load was executed within {limit:.0f} s; ./lab status shows the workers."
                )
            self._watch(load, POLL_S, "wait for the first execution")

    def _round(self, load: Load, broken: Injector, drill: Drill, chance: random.Random) -> None:
        targets = Targets(self._groups, self._leader(load), chance, load.queue, load.worker_unit)
        self._watch(load, CALM_S, "a calm moment")
        if drill.interrupts:
            targets.caught = load.hold(targets.worker())
        fault = drill.fault(targets)
        self._tell(fault.what, load)
        injected = broken.inject(fault)
        own = [load.publish(fault.publish)] if fault.publish else []
        self._watch(load, drill.duration - (load.now() - injected), fault.what)
        healed = broken.heal(fault) if fault.heals else injected
        self._watch(load, drill.settle, f"healed: {fault.what}")
        problems = self._problems_after(RECOVERED_S, "wait until the lab is healthy", load)
        recovered = None if problems else load.now()
        dead = tuple(own) if drill.dead else ()
        interrupted = targets.caught.unit if targets.caught else next(iter([] if drill.dead else own), None)
        self._rounds.append(
            _PastRound(drill, fault, injected, healed, recovered, problems, interrupted, dead)
        )

    def _leader(self, load: Load) -> str:
        keys = (f"{load.vhost}/{load.queue}", load.queue)
        found: dict[str, Any] = {}
        for _ in range(2):
            of_vhost = (self._queues.get(key) for key in keys)
            found = next((queue for queue in of_vhost if queue and queue["vhost"] == load.vhost), {})
            if found:
                break
            self._queues = nodes.read(self._context)["queues"]  # the queue is younger than the latest look
        if not found.get("leader"):
            raise LabError(f"Queue {load.queue} has no leader; ./lab status shows the brokers.")
        if isinstance(load, ApplicationLoad) and found["type"] == "quorum":
            return load.lead_at_publisher()
        return str(found["leader"])

    def _problems_after(self, seconds: float, doing: str, load: Load | None = None) -> tuple[str, ...]:
        """What is still wrong after so many seconds; returns as soon as nothing is."""
        self._queues = {}
        deadline = time.monotonic() + seconds * self._patience
        while not (found := nodes.read(self._context))["healthy"]:
            if time.monotonic() > deadline:
                return tuple(problem["sentence"] for problem in found["problems"])
            self._watch(load, LOOK_S, doing)
        self._queues = found["queues"]
        return ()

    def _watch(self, load: Load | None, seconds: float, doing: str) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._tell(doing, load)
            time.sleep(min(POLL_S, left))

    def _tell(self, doing: str, load: Load | None = None) -> None:
        words = [word for word in (self._doing, doing) if word]
        if load is not None:
            words.append(load.progress())
        self._step.update(" · ".join(words))

    def _drain(self, load: Load) -> float | None:
        """Seconds from the end of the load until all that was confirmed is done, None when it is not."""
        started = moved = time.monotonic()
        dead = sum(len(past.dead) for past in self._rounds)
        before = -1
        while time.monotonic() - started < DRAIN_S * self._patience:
            counts = load.counts
            if (
                counts.attempted == counts.confirmed + counts.unknown
                and counts.executed >= counts.confirmed - dead
            ):
                return time.monotonic() - started
            if counts.executed != before:
                before, moved = counts.executed, time.monotonic()
            elif isinstance(load, ApplicationLoad) and time.monotonic() - moved > max(
                QUIET_S, 2 * load.longest()
            ):
                if load.left() == 0:
                    return time.monotonic() - started
                if time.monotonic() - moved > max(STALLED_S, 4 * load.longest()):
                    return None
            self._tell("drain", load)
            time.sleep(POLL_S)
        if self._run.application and time.monotonic() - moved < STALLED_S:
            raise LabError(
                "The workers have not ended all tasks in time, and still run some: give a lower --rate."
            )
        return None

    def _result(self, ledger: Ledger, load: Window, drained: float | None) -> Result:
        run = self._run
        rounds, totals = self._measured(ledger, load), add_up(ledger)
        return Result(
            run.series.name, run.profile, run.run, rounds, totals, ledger, load, drained, self._ended_early
        )

    def _measured(self, ledger: Ledger, load: Window) -> list[Round]:
        ends = [past.injected for past in self._rounds[1:]] + [load.end]
        found = []
        for past, end in zip(self._rounds, ends, strict=True):
            window = Window(past.injected, end)
            hosts = [name for name in self._groups["workers"] if name not in past.fault.hit]
            measured = measure(ledger, window, hosts=hosts, held=past.held)
            found.append(
                Round(
                    past.drill.name,
                    past.fault.what,
                    window,
                    past.healed,
                    past.recovered,
                    measured,
                    past.dead,
                    past.problems,
                )
            )
        return found
