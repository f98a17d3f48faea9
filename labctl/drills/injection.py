"""Injects faults by the playbooks of playbooks/drills, or through the substrate, and heals them."""

import re
from collections.abc import Callable

from labctl.ansible import playbooks
from labctl.context import Context
from labctl.drills.definition import Fault
from labctl.errors import LabError
from labctl.screen import Step

_TIME = re.compile(r"\d+\.\d+")  # the first word of what playbooks/drills/tasks/fault.yml prints
LIMIT_S = 120  # after which the node heals the fault itself, when ./lab did not


class Injector:
    """Injects faults and heals them. `heal_all`: for the end of a drill, also after an error."""

    def __init__(self, context: Context, step: Step, clock: Callable[[], float]) -> None:
        self._context = context
        self._step = step
        self._clock = clock
        self._open: list[Fault] = []

    def inject(self, fault: Fault) -> float:
        """Inject a fault; returns its time, in seconds since 1970. Raises LabError."""
        if fault.heals:
            self._open.append(fault)
        if fault.power:
            at = self._clock()
            self._context.substrate.power_off(fault.power)
            return at
        return self._play(fault, "inject") if fault.playbook else self._clock()

    def heal(self, fault: Fault) -> float:
        """Heal a fault; returns the time at which that began."""
        at = self._clock()
        if fault.power:
            self._context.substrate.power_on(fault.power)
        elif fault.heals:
            at = self._play(fault, "heal")
        self._open = [other for other in self._open if other is not fault]
        return at

    def heal_all(self) -> list[str]:
        """Heal all faults that are left; returns a sentence for each that could not be healed."""
        failed = []
        for fault in reversed(self._open.copy()):
            try:
                self.heal(fault)
            except LabError as error:
                failed.append(f"{fault.what} could not be healed ({error}); run ./lab up.")
        return failed

    def _play(self, fault: Fault, action: str) -> float:
        started = self._clock()
        variables = {"drill_action": action, "drill_hosts": list(fault.hosts), "drill_limit": LIMIT_S}
        run = play(self._context, self._step, fault.playbook, {**variables, **fault.variables})
        times = [float(found[0]) for text in run.stdout.values() if (found := _TIME.match(text))]
        return min(times, default=started)


def play(context: Context, step: Step, playbook: str, variables: dict[str, object]) -> playbooks.Run:
    """Run one of playbooks/drills. Raises LabError when it fails."""
    return playbooks.run(
        context.paths,
        f"drills/{playbook}",
        step,
        inventory=context.substrate.inventory,
        variables=variables,
        keep_stdout=True,
    )
