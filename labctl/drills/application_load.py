"""A load of tasks of the user's own application, with witnesses in its workers."""

import contextlib
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NoReturn

from labctl.drills.application import VHOST, Application
from labctl.drills.definition import SingleTask
from labctl.drills.ledger import DONE, Attempt, Ledger, parse_ledger
from labctl.drills.load import Counts, NotHeldError
from labctl.drills.process_load import UNIT, ProcessLoad, as_user
from labctl.drills.targets import Held
from labctl.errors import LabError
from labctl.programs.remote import output
from labctl.substrates.base import Substrate

LOOK_S = 1.0
NO_ANSWER_S = 5.0
COUNT_IS_OLD_S = 12.0
HOLD_S = 30.0
POLL_S = 0.1
_NODE = re.compile(r"<(rabbit@[\w-]+)\.")
# There is no command of RabbitMQ that moves one leader.
_LEAD = """
{{ok, Queue}} = rabbit_amqqueue:lookup(rabbit_misc:r({vhost}, queue, {queue})),
rabbit_quorum_queue:transfer_leadership(Queue, '{node}').
"""
AGAIN = ("RETRY", "REJECTED")  # the task has not ended: the broker has its message again

Event = dict[str, Any]


class ApplicationLoad(ProcessLoad):
    """A running load of a task of the user's own application."""

    vhost = VHOST

    def __init__(
        self,
        substrate: Substrate,
        groups: Mapping[str, list[str]],
        application: Application,
        *,
        run: str,
        limit: float,
        log: Path,
    ) -> None:
        """Start it on the first gateway; raises LabError when it does not start in time."""
        self.queue = application.queue
        self.worker_unit = application.worker_unit
        self._run = run
        self._groups = groups
        self._application = application
        self._events_of: dict[str, list[Event]] = {host: [] for host in groups["workers"]}
        self._read_of = dict.fromkeys(groups["workers"], 0)
        self._locks = {host: threading.Lock() for host in groups["workers"]}
        self._held: list[str] = []
        self._ended = threading.Event()
        rate = application.call.rate / substrate.patience()
        name = application.name
        program = [application.python, "-m", "lab_drill_load"]
        command = as_user(name, [f"/etc/{name}/{name}.env", f"/etc/{name}/drill.env"], program, UNIT)
        first = application.plan(run=run, rate=rate, limit=limit, folder=application.folder)
        super().__init__(substrate, groups["gateways"][0], command, rate=rate, log=log, first=first)
        for host in groups["workers"]:
            threading.Thread(target=self._look_steadily, args=(host,), daemon=True).start()

    @property
    def counts(self) -> Counts:
        ended = {
            event["id"] for events in self._events_of.values() for event in events.copy() if is_end(event)
        }
        return replace(self._counts, executed=len(ended))

    def hold(self, host: str) -> Held:  # noqa: ARG002 - which host takes it is the broker's choice
        """Publish a task that its worker keeps running, and wait for its start; raises NotHeldError."""
        self._release()
        self._send({"hold": True})
        published = self._wait("published", HOLD_S)
        self._held.append(published["id"])
        deadline = time.monotonic() + HOLD_S * self._patience
        while time.monotonic() < deadline:
            for name, events in self._events_of.items():
                started = next((event for event in events if event["id"] == published["id"]), None)
                if started:
                    return Held(int(published["unit"]), name, int(started["pid"]))
            time.sleep(POLL_S)
        raise NotHeldError(
            f"No worker began the task within {HOLD_S * self._patience:.0f} s: give a lower --rate, or --dry,"
            " if the workers have more to do than they can."
        )

    def publish(self, single: SingleTask) -> NoReturn:
        """Tasks of mosaic only."""
        raise LabError(f"An application of yours has no task of the kind {single.kind}.")

    def stop(self) -> float:
        at = super().stop()
        self._release()
        return at

    def lead_at_publisher(self) -> str:
        """Let the broker that the publisher is connected to lead the queue, and return its name.

        Messages that have not left this broker are lost with it, so a drill that breaks the leader shows the
        worst case each time. Raises LabError.
        """
        broker, gateway = self._groups["brokers"][0], self._groups["gateways"][0]
        address = output(self._substrate, broker, ["getent", "hosts", gateway]).split()[0]
        words = ["rabbitmqctl", "--quiet", "list_connections", "pid", "vhost", "peer_host"]
        rows = [line.split("\t") for line in output(self._substrate, broker, words).splitlines()]
        pids = [row[0] for row in rows if row[1:] == [VHOST, address]]
        found = _NODE.match(pids[0]) if pids else None
        if found is None:
            raise LabError(f"The publisher on {gateway} has no connection; ./lab status shows its proxy.")
        output(self._substrate, broker, ["rabbitmqctl", "eval", _lead(self.queue, found[1])])
        return found[1].partition("@")[2]

    def left(self) -> int:
        """Messages in the queue, also those that a worker has not acknowledged. Raises LabError."""
        words = ["rabbitmqctl", "--quiet", "list_queues", "--vhost", VHOST, "name", "messages"]
        lines = output(self._substrate, self._groups["brokers"][0], words).splitlines()
        counts = dict(line.rsplit("\t", 1) for line in lines if "\t" in line)
        return int(counts.get(self.queue, 0))

    def _left_at_the_end(self) -> int:
        # RabbitMQ's count of a quorum queue can be 5 s old.
        deadline = time.monotonic() + COUNT_IS_OLD_S
        while (left := self.left()) and time.monotonic() < deadline:
            time.sleep(LOOK_S)
        return left

    def longest(self) -> float:
        """Seconds of the longest task so far, without those that were held."""
        attempts = attempts_of(self._events_of, self._run, held=False)
        return max((attempt.ended - attempt.started for attempt in attempts if attempt.ended), default=0.0)

    def read_back(self, file: Path) -> Ledger:
        self._ended.set()
        for host in self._events_of:
            self._look(host, HOLD_S)
        path = f"{self._application.folder}/{self._run}.jsonl"
        published = output(self._substrate, self._host, ["cat", path]).splitlines()
        attempts = attempts_of(self._events_of, self._run)
        document = {
            "published": [json.loads(line) for line in published],
            "attempts": [asdict(attempt) for attempt in attempts],
            "effects": effects_of(attempts),
            "raised": sum(
                event.get("state") == "FAILURE" for events in self._events_of.values() for event in events
            ),
            "left": self._left_at_the_end(),
        }
        file.write_text(json.dumps(document), encoding="utf-8")
        return parse_ledger(document)

    def close(self) -> None:
        self._ended.set()
        super().close()

    def _release(self) -> None:
        for task_id in self._held:
            for host in self._events_of:
                path = f"{self._application.folder}/released-{task_id}"
                with contextlib.suppress(LabError):
                    output(self._substrate, host, ["touch", path], seconds=NO_ANSWER_S)
        self._held.clear()

    def _look_steadily(self, host: str) -> None:
        while not self._ended.wait(LOOK_S):
            with contextlib.suppress(LabError):  # a host without power has no answer
                self._look(host, NO_ANSWER_S)

    def _look(self, host: str, seconds: float) -> None:
        """Read what the witnesses of a host have added to their file."""
        with self._locks[host]:
            command = [
                "tail",
                "-c",
                f"+{self._read_of[host] + 1}",
                f"{self._application.folder}/witness.jsonl",
            ]
            text = output(self._substrate, host, command, seconds=seconds, must_pass=False)
            lines = text[: text.rfind("\n") + 1]
            self._read_of[host] += len(lines.encode())
            for line in lines.splitlines():
                with contextlib.suppress(ValueError):  # torn by a power cut
                    self._events_of[host].append(json.loads(line))


def _lead(queue: str, node: str) -> str:
    """Erlang that makes a node lead a queue; a name as bytes cannot end the expression."""
    vhost, name = (f"<<{','.join(map(str, text.encode()))}>>" for text in (VHOST, queue))
    return _LEAD.format(vhost=vhost, queue=name, node=node)


def is_end(event: Event) -> bool:
    """Whether the task has ended, also with an exception."""
    return event["event"] == "end" and event["state"] not in AGAIN


def attempts_of(events: Mapping[str, Sequence[Event]], run: str, *, held: bool = True) -> list[Attempt]:
    """The attempts, from the events of each host; `held`: also of the tasks that the drill kept running."""
    found: list[Attempt] = []
    for host, own in events.items():
        running: dict[tuple[str, int], int] = {}  # places in `found`
        for event in list(own):
            if event["id"].endswith("-held") and not held:
                continue
            key = (event["id"], int(event["pid"]))
            if event["event"] == "start":
                unit = int(event["id"].removeprefix(f"{run}-").partition("-")[0])
                running[key] = len(found)
                found.append(Attempt(0, unit, 0, host, key[1], float(event["at"])))
            elif key in running:
                place = running.pop(key)
                outcome = DONE if is_end(event) else None
                found[place] = replace(found[place], ended=float(event["at"]), outcome=outcome)
    found.sort(key=lambda attempt: attempt.started)
    seen: Counter[int] = Counter()
    for place, attempt in enumerate(found):
        seen[attempt.unit] += 1
        found[place] = replace(attempt, id=place + 1, number=seen[attempt.unit])
    return found


def effects_of(attempts: Sequence[Attempt]) -> dict[int, int]:
    """By unit, the attempt that ended first."""
    effects: dict[int, int] = {}
    for attempt in sorted(attempts, key=lambda attempt: attempt.ended or 0.0):
        if attempt.outcome == DONE:
            effects.setdefault(attempt.unit, attempt.id)
    return effects
