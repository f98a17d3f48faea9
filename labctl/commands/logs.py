"""logs: journals of nodes and units, in order of time."""

import json
import queue
import re
import subprocess
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from labctl.context import Context
from labctl.errors import UsageError
from labctl.substrates.base import distinct

LINES, FOLLOWED_LINES = 100, 10
ENDS_S = 5.0
#: Short name -> units, as patterns of journalctl.
SHORT = {
    "beat": ("*-beat.service",),
    "flower": ("lab-flower.service",),
    "gateway": ("mosaic-gateway.service",),
    "postgresql": ("postgresql@*",),
    "rabbitmq": ("rabbitmq-server.service",),
    "worker": ("*-worker@*",),
}
_AGO = re.compile(r"\d+(s|m|min|h|d)")
# A program in a container does not end with the client that started it: this one ends with its stdin.
_FOLLOW = 'exec 3<&0; (cat; kill $$) <&3 >/dev/null 2>&1 & exec "$@" 3<&-'


@dataclass(frozen=True)
class Choice:
    """Nodes and units; without a node all nodes, without a unit all units. `lines`: of each node."""

    targets: Sequence[str]
    lines: int | None = None
    since: str = ""
    follow: bool = False


def command(context: Context, choice: Choice) -> int:
    nodes, units = _split(choice.targets, distinct(context.substrate.groups()))
    arguments = ["--no-pager", "--quiet", *(f"--unit={unit}" for unit in units)]
    lines = choice.lines or (FOLLOWED_LINES if choice.follow else None if choice.since else LINES)
    arguments += [f"--lines={lines}"] if lines else []
    if choice.since:
        arguments.append(f"--since={'-' if _AGO.fullmatch(choice.since) else ''}{choice.since}")
    if choice.follow:
        if context.screen.json:
            raise UsageError("--json prints one document, so it cannot --follow; leave out one of them.")
        return _follow(context, nodes, ["journalctl", "--output=short-iso-precise", "--follow", *arguments])
    output = "json" if context.screen.json else "short-iso-precise"
    return _print(context, choice, nodes, ["journalctl", f"--output={output}", *arguments])


def _split(targets: Sequence[str], known: list[str]) -> tuple[list[str], list[str]]:
    """The nodes and the units that are meant; a name that is no node's is that of a unit."""
    nodes = [name for name in known if name in targets]
    units = [unit for name in targets if name not in known for unit in SHORT.get(name, (name,))]
    return nodes or known, units


def _print(context: Context, choice: Choice, nodes: list[str], journal: list[str]) -> int:
    def read(node: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            context.substrate.shell(node, journal),
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
        )

    with ThreadPoolExecutor(max_workers=len(nodes)) as pool:
        answers = dict(zip(nodes, pool.map(read, nodes), strict=True))
    silent = {node: done.stderr.strip() for node, done in answers.items() if _failed(done)}
    if any("Failed to parse timestamp" in text for text in silent.values()):
        raise UsageError(
            f"--since {choice.since!r} is no time; give for example 10m, 2h, today or '2026-11-30 14:00'."
        )
    texts = {node: done.stdout for node, done in answers.items() if done.returncode == 0}
    if context.screen.json:
        print(json.dumps(_documents(texts), indent=2))
    else:
        found = sorted(entry for text in texts.values() for entry in entries(text))
        if not (found or silent or choice.since):
            raise UsageError(_nothing(choice.targets, nodes))
        if found:
            print("\n".join(found))
    for node, text in silent.items():
        context.screen.fail(
            f"The journal of {node} cannot be read: {(text.splitlines() or ['no answer'])[-1]}"
        )
    return 1 if silent else 0


def _failed(done: subprocess.CompletedProcess[str]) -> bool:
    return done.returncode != 0 and "No data available" not in done.stderr and bool(done.stderr.strip())


def _nothing(targets: Iterable[str], nodes: list[str]) -> str:
    return (
        f"No node has logs of {', '.join(targets)}; nodes are {', '.join(nodes)}, units for example"
        f" {', '.join(SHORT)}, haproxy, mosaic-worker@render."
    )


def entries(text: str) -> list[str]:
    """Entries of a journal printed with times; a message of several lines stays one entry."""
    return [entry for entry in re.split(r"\n(?=\d{4}-\d\d-\d\dT)", text.strip("\n")) if entry]


def _documents(texts: dict[str, str]) -> list[dict[str, Any]]:
    """[{"time" (ISO 8601, UTC), "node", "unit", "message"}] in order of time."""
    found = [(node, json.loads(line)) for node, text in texts.items() for line in text.splitlines()]
    found.sort(key=lambda pair: int(pair[1]["__REALTIME_TIMESTAMP"]))
    return [
        {
            "time": datetime.fromtimestamp(int(entry["__REALTIME_TIMESTAMP"]) / 1e6, UTC).isoformat(),
            "node": node,
            "unit": entry.get("_SYSTEMD_UNIT", ""),
            "message": _text(entry.get("MESSAGE")),
        }
        for node, entry in found
    ]


def _text(message: str | list[int] | None) -> str:
    """A message; journalctl gives one that is not UTF-8 as numbers."""
    return bytes(message).decode(errors="replace") if isinstance(message, list) else message or ""


def _follow(context: Context, nodes: list[str], journal: list[str]) -> int:
    """Print new lines as they come, until interrupted; UsageError when no node has such a unit."""
    programs = [
        subprocess.Popen(
            context.substrate.shell(node, ["sh", "-c", _FOLLOW, "sh", *journal]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        for node in nodes
    ]
    printed = False
    try:
        for line in _merged(programs):
            printed = True
            print(line, flush=True)
    except KeyboardInterrupt:
        return 130
    finally:
        for program in programs:
            if program.stdin:
                program.stdin.close()  # ends the program on the node
        for program in programs:
            with suppress(subprocess.TimeoutExpired):
                program.wait(ENDS_S)
            program.kill()
    if not printed:
        raise UsageError(f"{', '.join(nodes)}: no such unit, or no answer; ./lab status shows the services.")
    return 0


def _merged(programs: Sequence[subprocess.Popen[str]]) -> Iterator[str]:
    """Lines of all programs as they come."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read(program: subprocess.Popen[str]) -> None:
        for line in program.stdout or ():
            lines.put(line.rstrip("\n"))
        lines.put(None)

    for program in programs:
        threading.Thread(target=read, args=(program,), daemon=True).start()
    running = len(programs)
    while running:
        line = lines.get()
        if line is None:
            running -= 1
        else:
            yield line
