"""Why a playbook failed, in words that a person can act on."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from labctl.machine import fitness

# What apt, pip and curl print when a server does not answer, as opposed to when it refuses.
_UNREACHABLE = re.compile(
    r"Temporary failure resolving|Could not resolve|Failed to fetch|Unable to connect to|Could not connect to"
    r"|Failed to update apt cache|Cannot initiate the connection|Connection timed out|Network is unreachable"
    r"|No route to host|NewConnectionError|Max retries exceeded|ConnectTimeoutError|ProxyError"
    r"|Could not find a version that satisfies",
    re.IGNORECASE,
)
_SHOWN_HOSTS = 3
_SHOWN_LINES = 12
_KEPT_LINES = 40
# How Ansible, Molecule and pytest begin the line that shows what failed.
_FAILED = ("fatal:", "failed:", "[ERROR]", "FAILED", "E ")

# Where a run stops before it has changed the host: playbooks/preflight.yml, and the broker's precheck.
_PREFLIGHT = "Look at each host"
_REFUSALS = ("rabbitmq : Refuse a broker that is not ours", "rabbitmq : Refuse another Erlang cookie")
# Tasks of playbooks/substrate/create.yml in which the engine writes firewall rules.
_OF_THE_ENGINE = ("Create the lab's network", "Create and start the nodes")
# What OpenSSH and Mitogen print when they cannot log in, and the remedy.
_CONNECTION = {
    "host ?key": "shows an unknown host key; log in once by hand, or correct ~/.ssh/known_hosts",
    "must have a tty": "lets sudo run only in a terminal (requiretty); set ansible_pipelining to false in the"
    " inventory",
    "Missing sudo password|Incorrect sudo password|sudo: a password is required|sudo password is": "needs the"
    " right password for sudo; set ansible_become_password in the vault of the inventory",
    "Permission denied|authentication is incorrect|password is incorrect": "refuses the SSH login; correct"
    " ansible_user or ansible_ssh_private_key_file in the inventory",
    "Failed to connect to the host|EOF on stream|Connection (refused|reset|timed out|closed)": "is not"
    " reached by SSH; check that it runs, and correct ansible_host or ansible_port in the inventory",
}


@dataclass(frozen=True)
class Failure:
    """A task that failed on a host, or a host that could not be reached."""

    host: str
    task: str
    message: str
    play: str = ""


def registry_unreachable(text: str) -> bool:
    """True when the output of a package manager shows that its registry did not answer."""
    return _UNREACHABLE.search(text) is not None


def refusals(failures: Sequence[Failure]) -> list[str]:
    """Why hosts are not fit, when nothing else failed, so that nothing was changed."""
    return [] if any(not _refusal(failure) for failure in failures) else [_refusal(f) for f in failures]


def _refusal(failure: Failure) -> str:
    if failure.task in _REFUSALS:
        return failure.message
    if failure.task in _OF_THE_ENGINE and fitness.firewall(failure.message):
        line = failure.message.strip().splitlines()[-1]
        return f"The Docker engine: {fitness.firewall(failure.message)}, then run ./lab up again ({line})."
    if failure.play != _PREFLIGHT:
        return ""
    for pattern, remedy in _CONNECTION.items():
        if re.search(pattern, failure.message, re.IGNORECASE):
            return f"{failure.host} {remedy} ({failure.message.strip().splitlines()[-1]})."
    return failure.message


def explain(playbook: str, status: int, failures: Sequence[Failure], noise: Sequence[str], log: str) -> str:
    """The message of a failed run: cause, host, task, and where the rest is."""
    for failure in failures:
        if registry_unreachable(failure.message):
            return (
                f"A package registry could not be reached from {failure.host} (task: {failure.task});"
                f" check network and proxy, then run ./lab up again: it continues.\n"
                f"  {_first_line(failure.message)}\n  log: {log}"
            )
    if not failures:
        words = "\n".join(f"  {line}" for line in noise[-8:])
        return f"playbooks/{playbook} stopped with status {status}:\n{words}\n  log: {log}"
    lines = [f"playbooks/{playbook} failed:"]
    for failure in failures[:_SHOWN_HOSTS]:
        lines.append(f"  {failure.host}: task “{failure.task}”")
        lines += [f"    {line}" for line in _shortened(failure.message.splitlines())]
    more = len(failures) - _SHOWN_HOSTS
    if more > 0:
        lines.append(f"  and {more} more failures")
    return "\n".join([*lines, f"  log: {log}"])


def _shortened(lines: list[str]) -> list[str]:
    """The first and the last lines: a traceback ends with the cause."""
    return lines if len(lines) <= _SHOWN_LINES else [*lines[:4], "...", *lines[-_SHOWN_LINES + 5 :]]


def _first_line(message: str) -> str:
    matching = (line.strip() for line in message.splitlines() if registry_unreachable(line))
    return next(matching, message.splitlines()[0] if message else "")[:300]


def ending(lines: Sequence[str]) -> str:
    """The last lines of a program that are not empty, from the first failed task among them on."""
    kept = [line for line in lines if line.strip()][-_KEPT_LINES:]
    first = next((index for index, line in enumerate(kept) if line.startswith(_FAILED)), 0)
    return "\n".join(kept[first:])
