"""A load of single tasks of mosaic: `mosaic drill load` runs on a gateway."""

import json
from pathlib import Path

from labctl.drills.definition import SingleTask
from labctl.drills.ledger import Ledger, parse_ledger
from labctl.drills.process_load import UNIT, ProcessLoad, as_user
from labctl.drills.targets import Held
from labctl.programs.remote import output
from labctl.substrates.base import Substrate

RATE = 40.0  # tasks a second; divided by the hosts' patience
TASK_S = 0.03
HOLD_S = 45.0
START_OF_UNIT_S = 3.0
HELD_S = 60.0  # at most, of the unit that a fault is to interrupt: longer than a playbook takes to act
PUBLISH_S = 60.0
PROGRAM = "/opt/mosaic/venv/bin/mosaic"


def mosaic(*arguments: str, unit: str = "") -> list[str]:
    """Command line that runs `mosaic` as its own user with the host's configuration."""
    return as_user("mosaic", [], [PROGRAM, *arguments], unit)


class TaskLoad(ProcessLoad):
    """A running load of mosaic's drill tasks."""

    vhost = "mosaic"
    queue = "mosaic.drill"
    worker_unit = "mosaic-worker@render.service"

    def __init__(self, substrate: Substrate, host: str, *, run: str, limit: float, log: Path) -> None:
        """Start it on `host`; raises LabError when it does not start in time. `log`: its stderr."""
        self._run = run
        rate = RATE / substrate.patience()
        arguments = ["drill", "load", run, f"--rate={rate}", f"--seconds={TASK_S}", f"--limit={limit}"]
        super().__init__(substrate, host, mosaic(*arguments, unit=UNIT), rate=rate, log=log)

    def hold(self, host: str) -> Held:
        patience = self._patience
        self._send({"hold": host, "seconds": HELD_S * patience, "wait": START_OF_UNIT_S * patience})
        event = self._wait("held", HOLD_S, failed="not held")
        return Held(int(event["unit"]), str(event["host"]), int(event["pid"]))

    def publish(self, single: SingleTask) -> int:
        seconds = {} if single.seconds is None else {"seconds": single.seconds}
        self._send({"publish": single.kind, **seconds})
        return int(self._wait("published", PUBLISH_S)["unit"])

    def read_back(self, file: Path) -> Ledger:
        """What was published and done; takes the run's dead letters out of their queue."""
        dead, document = (
            json.loads(output(self._substrate, self._host, mosaic("drill", what, self._run)))
            for what in ("dead", "ledger")
        )
        file.write_text(json.dumps({**document, "dead": dead}), encoding="utf-8")
        return parse_ledger(document, dead)
