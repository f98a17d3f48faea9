"""Runs a lesson: its processes on hosts of the lab, what they print, and the faults that they ask for."""

import json
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from labctl.context import Context
from labctl.drills.faults import BROKER
from labctl.drills.injection import play
from labctl.errors import LabError
from labctl.programs.on_node import Event, Process, copy
from labctl.programs.remote import output
from labctl.screen import Step
from labctl.tour.lessons import SHARED, Lesson

LIMIT_S = 120.0
_STARTED = """for try in 1 2 3 4 5; do rabbitmqctl --quiet await_startup --timeout 60 && break; sleep 1; done
rabbitmqctl --quiet await_online_nodes {count} --timeout 60"""


@dataclass
class Outcome:
    """What a lesson printed, why it failed ("" when it passed), or why it was left out."""

    lesson: Lesson
    lines: list[str] = field(default_factory=list)
    failure: str = ""
    left_out: str = ""
    seconds: float = 0.0

    def document(self) -> dict[str, Any]:
        """For --json."""
        return {
            "name": self.lesson.name,
            "title": self.lesson.title,
            "ok": not self.failure,
            "seconds": round(self.seconds, 1),
            "output": self.lines,
            "failure": self.failure,
            "left_out": self.left_out,
        }


def run(context: Context, lesson: Lesson, password: str, show: Callable[[str], None]) -> Outcome:
    """Run a lesson; `show` gets each line of it. A lesson that fails raises nothing."""
    outcome = Outcome(lesson)
    groups = context.substrate.groups()
    for group, count in lesson.needs.items():
        if len(groups[group]) < count:
            outcome.left_out = f"it needs {count} {group}, and the lab has {len(groups[group])}"
            return outcome
    started = time.monotonic()
    try:
        _Run(context, outcome, show, groups).play(password)
    except LabError as error:
        outcome.failure = str(error)
    outcome.seconds = time.monotonic() - started
    return outcome


class _Run:
    def __init__(
        self, context: Context, outcome: Outcome, show: Callable[[str], None], groups: dict[str, list[str]]
    ) -> None:
        self._context = context
        self._outcome = outcome
        self._show = show
        self._groups = groups
        self._events: queue.Queue[Event] = queue.Queue()
        self._processes: list[Process] = []
        self._killed: set[str] = set()
        self._others_end = False

    def play(self, password: str) -> None:
        """Run the processes until the first one ends; sets what the outcome lacks."""
        lesson, substrate = self._outcome.lesson, self._context.substrate
        places = {
            "a gateway": self._groups["gateways"][:1],
            "a worker host": self._groups["workers"][:1],
            "every worker host": self._groups["workers"],
        }
        cast = [(part, host) for part, place in lesson.parts.items() for host in places[place]]
        for host in dict.fromkeys(host for _, host in cast):
            copy(substrate, host, [SHARED, lesson.file])
        try:
            for number, (part, host) in enumerate(cast):
                own = {"part": part, "host": host, "main": number == 0}
                settings = {"password": password, **own, **self._groups}
                self._processes.append(Process(substrate, host, lesson.file.name, settings, self._events))
            self._follow(time.monotonic() + LIMIT_S * substrate.patience())
        finally:
            self._end_others()
            status = self._processes[0].end() if self._processes else 0
            self._recover()
        if status != 0:
            false = any("✗ not true: " in line for line in self._outcome.lines)
            error = f"its program ended with an error, exit status {status}"
            self._outcome.failure = "what it shows is not true any more" if false else error

    def _follow(self, deadline: float) -> None:
        main = self._processes[0]
        while True:
            try:
                process, line = self._events.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise LabError(
                    f"it has not ended within {LIMIT_S:.0f} s; its program waits for something that"
                    " does not happen."
                ) from None
            if line is None:
                if process is main:
                    return
                if not self._others_end:
                    raise LabError(f"its process on {process.host} ended before the lesson did.")
            elif line.startswith('{"kill_broker": '):
                self._kill(process, json.loads(line)["kill_broker"])
            elif line.startswith('{"ended": ') and process is main:
                self._end_others()
                self._recover()
                main.send({"ended": True})
            else:
                self._print(f"{process.host:<10} {line}" if len(self._processes) > 1 else line)

    def _end_others(self) -> None:
        """End all processes but the main one, which then deletes the queues that they use."""
        self._others_end = True
        for process in self._processes[1:]:
            process.ask_to_end()
        for process in self._processes[1:]:
            process.end()

    def _print(self, line: str) -> None:
        self._outcome.lines.append(line)
        self._show(line)

    def _kill(self, process: Process, host: str) -> None:
        if host not in self._groups["brokers"]:
            raise LabError(f"{host} is no broker; a lesson may kill {', '.join(self._groups['brokers'])}.")
        self._print(f"  ./lab kills RabbitMQ on {host}")
        self._killed.add(host)
        variables: dict[str, object] = {"drill_action": "inject", "drill_hosts": [host], "drill_unit": BROKER}
        play(self._context, Step("kill"), "kill.yml", variables)
        process.send({"killed": host})

    def _recover(self) -> None:
        """Wait until the brokers that were killed are members of the cluster again."""
        while self._killed:
            host = self._killed.pop()
            script = _STARTED.format(count=len(self._groups["brokers"]))
            output(self._context.substrate, host, ["sh", "-c", script])
