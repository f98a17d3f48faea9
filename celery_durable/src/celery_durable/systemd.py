"""Notifying systemd (sd_notify(3)) without a library."""

from __future__ import annotations

import os
import socket


def notify(*lines: str) -> bool:
    """Send `lines` (NAME=value) to the service manager; return whether they were sent.

    Does nothing without NOTIFY_SOCKET in the environment.
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
    """Report that the service is ready: a unit with `Type=notify` counts as started."""
    return notify("READY=1", f"STATUS={status}")


def stopping(status: str = "stopping") -> bool:
    """Report that the service is stopping."""
    return notify("STOPPING=1", f"STATUS={status}")
