"""Prints what this node has used, each time when it reads a line: CPU time of all processes, bytes sent.

The first line of standard input is not read as a question. An answer has `at`, seconds of a clock of this
node; `cpu`, seconds; and `sent`, bytes. A process counts with the children that have ended. Standard library
alone: most nodes have no other packages.
"""

import json
import os
import sys
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
NETWORK = Path("/proc/net/dev")


def cpu() -> float:
    """Seconds since the node started. In a container, the processes are those of the container."""
    total = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:  # it has ended
                continue
            total += sum(map(int, text.rpartition(")")[2].split()[11:15]))  # user, system, those of children
    return total / TICKS


def sent() -> int:
    """Bytes to other hosts since the node started, over all interfaces."""
    total = 0
    for line in NETWORK.read_text(encoding="utf-8").splitlines()[2:]:
        name, _, counts = line.partition(":")
        if name.strip() != "lo":
            total += int(counts.split()[8])
    return total


def main() -> None:
    sys.stdin.readline()
    for _ in sys.stdin:
        print(json.dumps({"at": time.monotonic(), "cpu": cpu(), "sent": sent()}), flush=True)


if __name__ == "__main__":
    main()
