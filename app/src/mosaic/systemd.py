"""Telling systemd about readiness and state (sd_notify(3)), without a library."""

from __future__ import annotations

import os
import socket


def notify(*lines: str) -> bool:
    """Send `lines`, each NAME=value, to the service manager; return whether there was one to tell."""
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
    """Report that start-up is finished."""
    return notify("READY=1", f"STATUS={status}")


def status(text: str) -> bool:
    """Report what the service does now."""
    return notify(f"STATUS={text}")


def stopping(text: str = "stopping") -> bool:
    """Report that shutdown has begun."""
    return notify("STOPPING=1", f"STATUS={text}")
