"""Independent parts of work, as many at a time as the machine has cores."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, CancelledError, ThreadPoolExecutor, wait
from threading import Event
from typing import TypeVar

from labctl.programs import process

T = TypeVar("T")


def run(work: Sequence[Callable[[], T]], at_once: int | None = None) -> list[T]:
    """Do each part in a thread; returns their results in the given order.

    The first error of a part, or an interrupt, ends the programs of the others and is raised; parts that have
    not begun are left out.
    """
    stop = Event()

    def attempt(part: Callable[[], T]) -> T:
        if stop.is_set():
            raise CancelledError
        try:
            return part()
        except BaseException:
            stop.set()
            raise

    with ThreadPoolExecutor(at_once or os.cpu_count() or 1) as pool:
        parts = [pool.submit(attempt, part) for part in work]
        try:
            for part in wait(parts, return_when=FIRST_EXCEPTION).done:
                if not isinstance(part.exception(), CancelledError):
                    part.result()
        except BaseException:
            stop.set()
            while wait(parts, timeout=0.2).not_done:
                process.end_all()
            raise
        return [part.result() for part in parts]
