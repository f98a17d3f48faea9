"""Throughput with 1, 3 and 6 worker hosts: `LAB_NAME=... python -m tests.lab.measure_scale`.

For each number of hosts it runs ./lab scale, publishes tasks that sleep for 200 ms, and prints the seconds
until the last one has its effect. Exit status 1 when six hosts are not 5 times as fast as one.
"""

from __future__ import annotations

import os
import sys
import time

from tests.lab.commands import DEFAULT_LAB, UserLab

TASKS, SECONDS = 480, 0.2
HOSTS = (1, 3, 6)
GOAL = 5.0
JOB = """
import json, sys, time
from mosaic.drill.load import publishers
from mosaic.ledger import drills
from mosaic.ledger.database import transaction
from mosaic.ledger.jobs import TaskCall
run, tasks, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
calls = [TaskCall('mosaic.drill.work', (run, unit, seconds), f'{run}-{unit}') for unit in range(1, tasks + 1)]
started = time.monotonic()
publishers()['window'].send(calls)
while time.monotonic() < started + 300:
    with transaction() as session:
        if drills.executed(session, run) == tasks:
            break
    time.sleep(0.1)
else:
    sys.exit('not all tasks ran')
print(json.dumps(time.monotonic() - started))
"""


def main() -> int:
    """Measure; the lab has its first number of worker hosts again at the end."""
    lab = UserLab(os.environ.get("LAB_NAME") or DEFAULT_LAB)
    first = lab.run("scale", "--json").json()["workers"]["count"]
    found: dict[int, float] = {}
    try:
        for hosts in HOSTS:
            started = time.monotonic()
            done = lab.run("scale", f"workers={hosts}")
            if done.status != 0:
                sys.exit(str(done))
            scaled = time.monotonic() - started
            run = f"measure-{hosts}-{time.time():.0f}"
            found[hosts] = lab.python("gateway-1", JOB, run, str(TASKS), str(SECONDS))
            rate = TASKS / found[hosts]
            print(f"{hosts} hosts: {found[hosts]:.1f} s, {rate:.1f} tasks/s (scaled in {scaled:.0f} s)")
    finally:
        lab.run("scale", f"workers={first}")
    times = found[HOSTS[0]] / found[HOSTS[-1]]
    print(f"{HOSTS[-1]} hosts are {times:.1f} times as fast as {HOSTS[0]}; the goal is {GOAL:.0f}")
    return 0 if times >= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
