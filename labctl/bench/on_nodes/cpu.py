"""Prints the CPU time that all processes of this node have used, each time when it reads a line.

The first line of standard input is not read as a question. Answers: {"at": SECONDS, "cpu": SECONDS}, where
`at` is a clock of this node. A process counts with the children that have ended. Standard library alone: most
nodes have no other packages.
"""

import json
import os
import sys
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


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


def main() -> None:
    sys.stdin.readline()
    for _ in sys.stdin:
        print(json.dumps({"at": time.monotonic(), "cpu": cpu()}), flush=True)


if __name__ == "__main__":
    main()
