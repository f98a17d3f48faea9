"""How fast this machine is: measured once for each lab, and followed by its waits and checks.

The standard library alone, because the inventory of Vagrant uses it too.
"""

import hashlib
import json
import os
import time
from pathlib import Path

#: CPU time of the work below, and cores, on the machine for which the time limits were set.
USUAL_S = 0.11
USUAL_CORES = 2
#: The name of the file with the factor, in the folder of the lab.
FILE = "patience"
#: From this factor on, hosts are as slow as emulated ones: group_vars/emulated.yml.
EMULATED = 4
_MOST = 40


def remembered(folder: Path) -> int:
    """How many times longer than usual waits may take: what `measured` left in this folder, else 1."""
    try:
        return int((folder / FILE).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 1


def measured(folder: Path) -> int:
    """The same, measured now when this folder has no factor yet. It is 1 on every usual machine."""
    file = folder / FILE
    if not file.exists():
        file.write_text(f"{factor(min(_work() for _ in range(3)), os.cpu_count() or 1)}\n", encoding="ascii")
    return remembered(folder)


def factor(seconds: float, cores: int) -> int:
    """The factor for a machine with this CPU time and number of cores; differences up to 2 do not count."""
    slower = seconds / USUAL_S * max(1.0, USUAL_CORES / cores)
    return 1 if slower < 2 else min(_MOST, round(slower))


def sentence(times: int) -> str:
    """For the screen."""
    return f"this machine is about {times} times slower than usual; waits and checks take as much longer"


def _work() -> float:
    """CPU time in seconds, which does not depend on what else runs here."""
    started = time.process_time()
    table = {f"queue-{number}": hashlib.sha256(b"%d" % number).hexdigest() for number in range(60_000)}
    json.loads(json.dumps(table))
    sorted(table.values())
    return time.process_time() - started
