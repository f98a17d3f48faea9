"""The programs of ./lab bench on nodes: they get commands as lines of JSON, and answer in the same way."""

import json
import queue
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from labctl.errors import LabError
from labctl.programs.on_node import PYTHON, Event, Process, copy
from labctl.substrates.base import Substrate

ON_NODES = Path(__file__).with_name("on_nodes")
LIMIT_S = 14_400  # after which systemd ends a program that ./lab could not end
ANSWER_S = 90.0
READY_S = 90.0  # until a program has started
LAST_LINES = 3


class Program:
    """A running program. As a context manager it ends with the block."""

    def __init__(
        self, substrate: Substrate, host: str, file: str, settings: Mapping[str, Any], python: str = PYTHON
    ) -> None:
        """Copy `on_nodes`/`file` to a host and start it there. Raises LabError."""
        copy(substrate, host, [ON_NODES / file])
        self.host = host
        self.patience = substrate.patience()
        self._events: queue.Queue[Event] = queue.Queue()
        own = {**settings, "host": host}
        self._process = Process(substrate, host, file, own, self._events, python=python, limit=LIMIT_S)
        self._printed: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.end()

    def ask_to_end(self) -> None:
        """Begin to end it; the end of the block waits for this."""
        self._process.ask_to_end()

    def send(self, **command: Any) -> None:
        """Give it a command."""
        self._process.send(command)

    def ask(self, **command: Any) -> dict[str, Any]:
        """Its answer to a command. Raises LabError."""
        self.send(**command)
        return self.read(ANSWER_S)

    def read(self, seconds: float) -> dict[str, Any]:
        """Its next answer. Raises LabError when it has ended, or gives none within seconds * patience."""
        found = self.poll(seconds * self.patience)
        if found is None:
            raise LabError(
                f"The measuring program on {self.host} did not answer within"
                f" {seconds * self.patience:.0f} s ({self._last()}); ./lab status shows the state of the lab."
            )
        return found

    def poll(self, seconds: float) -> dict[str, Any] | None:
        """Its next answer, None when it gives none within `seconds`. Raises LabError when it has ended."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                _, line = self._events.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return None
            if line is None:
                raise LabError(f"The measuring program on {self.host} ended by itself: {self._last()}")
            if line.startswith("{"):
                found: dict[str, Any] = json.loads(line)
                return found
            if line.strip():
                self._printed.append(line)

    def _last(self) -> str:
        return "; ".join(self._printed[-LAST_LINES:]) or "it printed nothing"


@contextmanager
def started(
    substrate: Substrate, hosts: Sequence[str], file: str, settings: Mapping[str, Any], python: str = PYTHON
) -> Iterator[list[Program]]:
    """The same program on several hosts, started at the same time; all end with the block."""
    with ExitStack() as stack, ThreadPoolExecutor(len(hosts)) as pool:

        def start(host: str) -> Program:
            return stack.enter_context(Program(substrate, host, file, settings, python))

        programs = list(pool.map(start, hosts))
        try:
            yield programs
        finally:
            for program in programs:
                program.ask_to_end()


def ask_all(programs: Sequence[Program], **command: Any) -> list[dict[str, Any]]:
    """The answers of several programs to the same command."""
    for program in programs:
        program.send(**command)
    return [program.read(ANSWER_S) for program in programs]
