"""Work whose parts do not need one another, done as many at a time as the machine has cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from threading import Event
from typing import TypeVar, cast

from labctl.programs import process

T = TypeVar("T")


def run(work: Sequence[Callable[[], T]], at_once: int | None = None) -> list[T]:
    """Do each part in a thread; their results in the order given.

    The first error of a part, or an interrupt, ends the programs of the others and is raised; parts that have
    not begun are left out.
    """
    errors: list[BaseException] = []
    stop = Event()

    def attempt(part: Callable[[], T]) -> T | None:
        if stop.is_set():
            return None
        try:
            return part()
        except BaseException as error:
            errors.append(error)
            stop.set()
            raise

    with ThreadPoolExecutor(at_once or os.cpu_count() or 1) as pool:
        parts = [pool.submit(attempt, part) for part in work]
        try:
            wait(parts, return_when=FIRST_EXCEPTION)
        except BaseException:
            stop.set()
            raise
        finally:
            while stop.is_set() and wait(parts, timeout=0.2).not_done:
                process.end_all()
    if errors:
        raise errors[0]
    return [cast("T", part.result()) for part in parts]
