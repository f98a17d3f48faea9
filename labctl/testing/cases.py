"""Steps of a cycle (make, use, remove) as the cases of a report: timed, and a failure kept as its case's."""

from __future__ import annotations

import time
from collections.abc import Callable

from labctl.errors import LabError
from labctl.screen import Screen
from labctl.testing.junit import Case


class Cases:
    """Cases in the order in which they ran."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self.done: list[Case] = []

    def run(self, name: str, action: Callable[[], object]) -> bool:
        """Run one; False when it raised a LabError, which is shown and kept."""
        started = time.monotonic()
        failure = ""
        try:
            action()
        except LabError as error:
            failure = str(error)
            self._screen.fail(f"FAILED {name}\n{failure}")
        self.done.append(Case(name, time.monotonic() - started, failure))
        return not failure
