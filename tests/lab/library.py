"""A separate application on the lab: its own vhost, with workers and producers on this machine.

This machine cannot reach the brokers. A worker host can reach them through its proxy, so each connection goes
through a `docker exec` in that host's container.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.commands import ROOT, UserLab, docker, wait_for

SPARES = 3
# It connects when it receives the first byte, so that a spare process needs no connection to a broker.
FORWARD = """
import os, socket, threading
first = os.read(0, 65536)
if first:
    peer = socket.create_connection(("127.0.0.1", 5672))
    peer.sendall(first)
    def back():
        while data := peer.recv(65536):
            os.write(1, data)
        os._exit(0)
    threading.Thread(target=back, daemon=True).start()
    while data := os.read(0, 65536):
        peer.sendall(data)
"""


class Relay:
    """A port on 127.0.0.1 that forwards to the proxy of a worker's container."""

    def __init__(self, container: str) -> None:
        """Forward through processes in this container."""
        self._command = ["docker", "exec", "-i", container, "python3", "-c", FORWARD]
        self._server = socket.create_server(("127.0.0.1", 0))
        self._spares = [self._start() for _ in range(SPARES)]
        self._open: dict[socket.socket, subprocess.Popen[bytes]] = {}
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        """Port for clients."""
        port: int = self._server.getsockname()[1]
        return port

    def cut(self) -> int:
        """Close every connection, as when a host on the path fails; returns their number."""
        cut = list(self._open.items())
        for client, process in cut:
            self._end(client, process)
        return len(cut)

    def close(self) -> None:
        """Close every connection and accept no more."""
        self._server.close()
        self.cut()
        for process in self._spares:
            process.kill()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            process = self._spares.pop(0)
            self._spares.append(self._start())
            self._open[client] = process
            for pump in (self._forward, self._back):
                threading.Thread(target=pump, args=(client, process), daemon=True).start()

    def _forward(self, client: socket.socket, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # ValueError: cut() closed stdin in the meantime
            while data := client.recv(65536):
                process.stdin.write(data)
        self._end(client, process)

    def _back(self, client: socket.socket, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with contextlib.suppress(OSError):
            while data := os.read(process.stdout.fileno(), 65536):
                client.sendall(data)
        self._end(client, process)

    def _end(self, client: socket.socket, process: subprocess.Popen[bytes]) -> None:
        if self._open.pop(client, None) is None:
            return
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
        client.close()
        with contextlib.suppress(OSError):
            process.stdin.close()  # ends the program in the container and its connection
        process.wait(10)


@dataclass
class Elsewhere:
    """Place of an application: its folder and its broker."""

    folder: Path
    url: str
    relay: Relay
    _workers: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """Environment of its processes."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CELERY_")}
        return {**kept, "PYTHONPATH": str(ROOT / "celery_durable" / "src"), "CELERY_BROKER_URL": self.url}

    def worker(self, app: str, queues: str, *options: str) -> subprocess.Popen[str]:
        """Start a worker of the module `app`; its output goes to the file that `said` reads."""
        command = [sys.executable, "-m", "celery", "-A", app, "worker", "-Q", queues, "-l", "INFO", *options]
        with self._log(queues).open("a", encoding="utf-8") as log:
            worker = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self._workers.append(worker)
        return worker

    def said(self, queues: str) -> str:
        """Output of the workers of these queues."""
        return self._log(queues).read_text(encoding="utf-8")

    def run(self, code: str) -> subprocess.CompletedProcess[str]:
        """Run the program of a producer and wait for its end."""
        return subprocess.run(
            [sys.executable, "-c", code],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def close(self) -> None:
        """Kill the workers that still run."""
        for worker in self._workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGKILL)
                worker.wait(10)

    def _log(self, queues: str) -> Path:
        return self.folder / f"{queues}.log"


def is_ready(place: Elsewhere, *queues: str) -> None:
    """Wait until the workers of these queues are ready."""
    wait_for("workers are ready", 40, lambda: all(" ready." in place.said(name) for name in queues))


@contextlib.contextmanager
def elsewhere(lab: UserLab, folder: Path) -> Iterator[Elsewhere]:
    """Create a vhost with its own user; delete both at the end."""
    name, password = f"library-{secrets.token_hex(4)}", secrets.token_urlsafe(16)
    broker, worker = f"{lab.name}-broker-1", f"{lab.name}-worker-1"
    permissions = {"user": name, "vhost": name, "configure": ".*", "write": ".*", "read": ".*"}
    definitions = {
        "vhosts": [{"name": name}],
        "users": [{"name": name, "password_hash": hashed(password), "tags": []}],
        "permissions": [permissions],
    }
    relay = Relay(worker)
    place = Elsewhere(folder, f"amqp://{name}:{password}@127.0.0.1:{relay.port}/{name}", relay)
    try:
        docker("exec", broker, "sh", "-ec", IMPORT, "sh", json.dumps(definitions))
        yield place
    finally:
        place.close()
        relay.close()
        docker("exec", broker, "sh", "-c", f"rabbitmqctl delete_vhost {name}; rabbitmqctl delete_user {name}")


IMPORT = """
file=$(mktemp)
trap 'rm -f "$file"' EXIT
printf %s "$1" >"$file"
chmod 0644 "$file"
rabbitmqctl import_definitions "$file"
"""


def hashed(password: str) -> str:
    """RabbitMQ's hash of a password, so that no process argument contains the password."""
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
