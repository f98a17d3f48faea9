"""A process that scales pictures, each in a child that can use no more memory than a task may.

Input, repeated: a line with the edge and the number of bytes, then the picture. Output: one line for each,
`scaled`, `refused SENTENCE` or `failed REASON`.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

from mosaic.kinds.kind import TASK_BYTES
from mosaic.kinds.scale.pictures import PictureError, check_picture, scale


def outcome(data: bytes, edge: int) -> str:
    """Scale within the budget, and return the line."""
    try:
        check_picture(data, edge)
    except PictureError as error:
        return f"refused {error}"
    try:
        scale(data, edge)
    except PictureError as error:
        return f"damaged {error}"
    except MemoryError:
        return "failed out of memory"
    except Exception as error:  # noqa: BLE001  the test shows it
        return f"failed {error!r}"
    return "scaled"


def limit() -> None:
    """Allow the budget beside what this process has already."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + TASK_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


for line in iter(sys.stdin.buffer.readline, b""):
    edge, size = map(int, line.split())
    data = sys.stdin.buffer.read(size)
    child = os.fork()
    if not child:
        limit()
        sys.stdout.write(outcome(data, edge) + "\n")
        sys.stdout.flush()
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        print("failed: the process died", flush=True)
