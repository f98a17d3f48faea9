"""Print the report of a worker host or gateway about its access to broker and database as JSON.

Runs on the node with the application's Python, which has pika and psycopg.

    client.py '{"units": [pattern, ..], "applications": [name, ..]}'
"""

from __future__ import annotations

import csv
import json
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import pika
import psycopg
from pika.adapters.blocking_connection import BlockingChannel

CONFIG = tomllib.loads(Path("/etc/mosaic/mosaic.toml").read_text())
PATIENCE = float(json.loads(sys.argv[1]).get("patience", 1))  # factor for time limits on slow hosts
PROXY_SOCKET = "/run/haproxy/admin.sock"
SHOWN = "--property=Id,ActiveState,StatusText,MainPID,NRestarts"


def units(patterns: list[str]) -> dict[str, dict[str, str]]:
    """State of the loaded units that match."""
    command = ["systemctl", "show", SHOWN, "--", *patterns]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=20 * PATIENCE)
    blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in done.stdout.split("\n\n")]
    found = {block["Id"].removesuffix(".service"): block for block in blocks if block}
    return {
        name: block
        for name, block in found.items()
        if "-worker@" not in name or installed(name.partition("-worker@")[0])
    }


def installed(application: str) -> bool:
    """Whether the lab installed an application: its roles write the settings of all its units."""
    return Path(f"/etc/systemd/system/{application}-.service.d/lab.conf").exists()


def declared_queues() -> dict[str, list[str]]:
    """Queues of the unit of each worker instance, from its environment file."""
    found = {}
    for file in (file for file in Path("/etc").glob("*/worker-*.env") if installed(file.parent.name)):
        settings = dict(line.split("=", 1) for line in file.read_text().splitlines() if "=" in line)
        unit = f"{file.parent.name}-worker@{file.stem.removeprefix('worker-')}"
        found[unit] = settings["WORKER_QUEUES"].split(",")
    return found


def proxy() -> dict[str, str]:
    """State of each broker at this host's proxy, with the result of its last check."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(5 * PATIENCE)
        channel.connect(PROXY_SOCKET)
        channel.sendall(b"show stat\n")
        text = b"".join(iter(lambda: channel.recv(65536), b"")).decode()
    rows = csv.DictReader(text.lstrip("# ").splitlines())
    servers = (row for row in rows if row["svname"] not in ("FRONTEND", "BACKEND"))
    # HAProxy marks a check that is in progress with a star.
    return {row["svname"]: f"{row['status']} {row['check_status'].lstrip('* ')}" for row in servers}


@contextmanager
def amqp(url: str) -> Iterator[BlockingChannel]:
    """Open a channel for a broker user; its connection is closed at the end."""
    parameters = pika.URLParameters(url)
    parameters.socket_timeout = parameters.blocked_connection_timeout = 5 * PATIENCE
    connection = pika.BlockingConnection(parameters)
    try:
        yield connection.channel()
    finally:
        if connection.is_open:
            connection.close()


def answer(action: Callable[[], object]) -> str:
    """ "done", or the error with which the broker or the database refused."""
    try:
        action()
    except (pika.exceptions.AMQPError, psycopg.Error) as error:
        return f"{type(error).__name__}: {error}"
    return "done"


def with_login(url: str, login: str) -> str:
    """The URL with another user:password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}"))


def broker() -> dict[str, str]:
    """Answers of the broker to allowed and forbidden operations."""
    mosaic = CONFIG["broker"]["url"]
    shipper = json.loads(Path("/etc/warren/log-shipper.json").read_text())
    logs = with_login(mosaic, f"{shipper['user']}:{quote(shipper['password'], safe='')}")

    def connect(url: str) -> str:
        def action() -> None:
            with amqp(url):
                pass

        return answer(action)

    def use(url: str, action: Callable[[BlockingChannel], object]) -> str:
        def session() -> None:
            with amqp(url) as channel:
                action(channel)

        return answer(session)

    return {
        "own user": connect(mosaic),
        "guest": connect(with_login(mosaic, "guest:guest")),
        "wrong password": connect(with_login(mosaic, "mosaic:wrong")),
        "other vhost": connect(f"{mosaic.rpartition('/')[0]}/%2F"),
        "foreign queue": use(mosaic, lambda channel: channel.queue_declare("not-ours", exclusive=True)),
        # The queue of dead letters has no consumer.
        "log publisher reads": use(logs, lambda channel: channel.basic_get("mosaic.dead")),
        "log publisher declares": use(logs, lambda channel: channel.exchange_declare("mosaic.logs", "topic")),
    }


def database() -> dict[str, str]:
    """Answers of the database to allowed and forbidden operations."""
    url = CONFIG["database"]["url"].replace("postgresql+psycopg://", "postgresql://")
    plain = url.partition("?")[0]

    def run(to: str, *statements: str) -> str:
        def action() -> None:
            with closing(psycopg.connect(to, connect_timeout=int(5 * PATIENCE))) as connection:
                for statement in statements:
                    connection.execute(statement.encode())

        return answer(action)

    return {
        "own user": run(url, "SELECT count(*) FROM job"),
        "encrypted": run(url, "SELECT 1 / ssl::int FROM pg_stat_ssl WHERE pid = pg_backend_pid()"),
        "wrong password": run(with_login(url, "mosaic:wrong")),
        "plaintext": run(f"{plain}?sslmode=disable"),
        "database postgres": run(url.replace("/mosaic?", "/postgres?")),
        "user postgres": run(with_login(url, "postgres:postgres")),
        # These transactions are never committed.
        "create a table": run(url, "CREATE TABLE not_ours (id int)"),
        "create in a schema of its own": run(url, "CREATE SCHEMA not_ours"),
        "change the schema": run(url, "ALTER TABLE job ADD COLUMN not_ours int"),
        "truncate": run(url, "TRUNCATE job CASCADE"),
    }


def readable(user: str, other: str) -> list[str]:
    """Files of one application that the user of another can read."""
    as_user = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
    files = [path for top in ("/etc", "/opt", "/var/lib") for path in Path(top, other).glob("*")]
    return [
        str(path)
        for path in files
        if subprocess.run([*as_user, "test", "-r", path], check=False).returncode == 0
    ]


def isolation(names: list[str]) -> dict[str, dict[str, Any]]:
    """What each application may do beside the others: by name."""
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        lines = Path(f"/etc/{name}/{name}.env").read_text().splitlines()
        (url,) = (
            line.partition("=")[2].strip('"') for line in lines if line.startswith("CELERY_BROKER_URL=")
        )

        def connect(vhost: str, url: str = url) -> str:
            def action() -> None:
                with amqp(f"{url.rpartition('/')[0]}/{vhost}") as channel:
                    channel.queue_declare("", exclusive=True)

            return answer(action)

        others = {"mosaic", *names} - {name}
        found[name] = {
            "own vhost": connect(name),
            "other vhosts": [connect(other) for other in others],
            # The code of mosaic is public; its configuration is not.
            "files": [
                *(path for other in names if other != name for path in readable(name, other)),
                *(path for path in readable(name, "mosaic") if path.startswith("/etc/")),
                *readable("mosaic", name),
            ],
        }
    return found


def main() -> None:
    """Print the report."""
    wanted: dict[str, Any] = json.loads(sys.argv[1])
    report = {
        "units": units(wanted["units"]),
        "declared": declared_queues(),
        "proxy": proxy(),
        "broker": broker(),
        "database": database(),
        "isolation": isolation(wanted["applications"]),
    }
    print(json.dumps(report))


main()
