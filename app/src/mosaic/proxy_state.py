"""The brokers as this host's proxy sees them, from its statistics socket (HAProxy, level `user`)."""

from __future__ import annotations

import csv
import io
import socket

BACKEND = "brokers"
# All proxies, type 4 (servers), all servers.
QUESTION = b"show stat -1 4 -1\n"
TIMEOUT_SECONDS = 0.3


def ask(path: str) -> dict[str, dict[str, int | str]] | None:
    """Return {broker: {"state": "UP" ..., "sessions": n}}, or None if the proxy does not answer."""
    if not path:
        return None
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
            channel.settimeout(TIMEOUT_SECONDS)
            channel.connect(path)
            channel.sendall(QUESTION)
            answer = b"".join(iter(lambda: channel.recv(65536), b""))
    except OSError:
        return None
    return parse(answer.decode("utf-8", "replace"))


def parse(text: str) -> dict[str, dict[str, int | str]]:
    """Return the servers of the brokers' backend from HAProxy's CSV; an incomplete row is ignored."""
    rows = csv.DictReader(io.StringIO(text.removeprefix("# ").strip()))
    return {
        row["svname"]: {"state": row["status"].split()[0], "sessions": int(row["scur"] or 0)}
        for row in rows
        if row.get("pxname") == BACKEND
        and row.get("svname") not in ("BACKEND", "FRONTEND")
        and (row.get("status") or "").strip()
        and (row.get("scur") or "0").isdigit()
    }
