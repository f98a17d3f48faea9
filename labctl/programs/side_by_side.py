"""Independent parts of work, as many at a time as the machine has cores."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

from labctl.programs import process

T = TypeVar("T")


def run(work: Sequence[Callable[[], T]], at_once: int | None = None) -> list[T]:
    """Do each part in a thread; returns their results in the given order.

    The first error of a part, or an interrupt, ends the programs of the others and is raised; parts that have
    not begun are left out.
    """
    failure: BaseException | None = None
    with ThreadPoolExecutor(at_once or os.cpu_count() or 1) as pool:
        parts = [pool.submit(part) for part in work]
        try:
            ended = wait(parts, return_when=FIRST_EXCEPTION).done
            failure = next((error for part in ended if (error := part.exception())), None)
        except KeyboardInterrupt as interrupt:
            failure = interrupt
        if failure is not None:
            begun = [part for part in parts if not part.cancel()]
            while wait(begun, timeout=0.2).not_done:
                process.end_all()
            raise failure
        return [part.result() for part in parts]
