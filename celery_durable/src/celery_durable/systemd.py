"""Telling systemd about readiness and state (sd_notify(3)), without a library."""

from __future__ import annotations

import os
import socket


def notify(*lines: str) -> bool:
    """Send `lines`, each NAME=value, to the service manager; return whether one took them.

    Without NOTIFY_SOCKET in the environment nothing is sent.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.connect(address)
            channel.sendall("\n".join(lines).encode())
        except OSError:
            return False
    return True


def ready(status: str) -> bool:
    """Report that start-up is finished: `Type=notify` units count as started from now on."""
    return notify("READY=1", f"STATUS={status}")


def stopping(status: str = "stopping") -> bool:
    """Report that shutdown has begun."""
    return notify("STOPPING=1", f"STATUS={status}")
