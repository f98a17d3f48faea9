"""open, shell and logs: how a person reaches the lab."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from labctl.console_api import USER, published
from labctl.context import Context
from labctl.errors import UsageError
from labctl.substrates.base import distinct


def open_console(context: Context, *, browser: bool) -> int:
    """Print the console's address, user and password."""
    url = published(context.substrate.url())
    secret = context.substrate.console_password()
    context.screen.say(f"{url}\nuser      {USER}\npassword  {secret}\nCA        {context.paths.ca}")
    if browser:
        import webbrowser

        webbrowser.open(url)
    return 0


def shell(context: Context, node: str, command: list[str]) -> int:
    """Replace this process by a shell, or a command, on a node."""
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    words = context.substrate.shell(node, command, terminal=terminal)
    os.execvp(words[0], words)  # noqa: S606 - no shell is wanted


def logs(context: Context, target: str, *, lines: int, follow: bool) -> int:
    """Print the journal of a node, or of one unit on every node that has it, in order of time."""
    nodes = distinct(context.substrate.groups())
    journal = ["journalctl", "--no-pager", "--output=short-iso-precise", f"--lines={lines}"]
    if target in nodes:
        if follow:
            return shell(context, target, [*journal, "--follow"])
        done = subprocess.run(context.substrate.shell(target, journal), check=False, stdin=subprocess.DEVNULL)
        return 0 if done.returncode == 0 else 1
    if follow:
        raise UsageError(f"--follow shows one node; give one of {', '.join(nodes)}.")
    journal += ["--quiet", f"--unit={target}"]

    def read(node: str) -> list[str]:
        words = context.substrate.shell(node, journal)
        done = subprocess.run(words, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        return journal_entries(done.stdout) if done.returncode == 0 else []

    with ThreadPoolExecutor(max_workers=len(nodes)) as pool:
        found = sorted(entry for part in pool.map(read, nodes) for entry in part)
    if not found:
        raise UsageError(
            f"{target} is no node, and no node has logs of a unit with that name; nodes are"
            f" {', '.join(nodes)}, units for example rabbitmq-server, haproxy, mosaic-worker@render,"
            " mosaic-gateway."
        )
    print("\n".join(found))
    return 0


def journal_entries(text: str) -> list[str]:
    """Entries of a journal printed with times; a message of several lines stays one entry."""
    return [entry for entry in re.split(r"\n(?=\d{4}-\d\d-\d\dT)", text.strip("\n")) if entry]
