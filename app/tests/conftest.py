"""Fixtures: a private PostgreSQL server, the ledger in it, the gateway with a publisher that only records."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import uvicorn
from celery import Celery
from fastapi.testclient import TestClient
from mosaic.celery import create_app
from mosaic.config import Config, load_config
from mosaic.gateway.app import NotifyingServer, create_gateway
from mosaic.ledger.database import engine, make_engine
from mosaic.ledger.jobs import TaskCall
from mosaic.ledger.models import Base
from mosaic.migrate import migrate
from sqlalchemy import Engine, text

from celery_durable import Unconfirmed

ROLES = (
    "CREATE ROLE mosaic_owner LOGIN",
    "CREATE ROLE mosaic LOGIN",
    "CREATE DATABASE mosaic OWNER mosaic_owner",
)
GRANTS = """
REVOKE ALL ON SCHEMA public FROM PUBLIC;
ALTER SCHEMA public OWNER TO mosaic_owner;
GRANT USAGE ON SCHEMA public TO mosaic;
ALTER DEFAULT PRIVILEGES FOR ROLE mosaic_owner GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO mosaic;
ALTER DEFAULT PRIVILEGES FOR ROLE mosaic_owner GRANT USAGE, SELECT ON SEQUENCES TO mosaic;
"""

CONFIG = """
host = "{host}"
[broker]
url = "amqp://mosaic:unused@127.0.0.1:1/mosaic"
[database]
url = "postgresql+psycopg://mosaic@/mosaic?host={socket}&port=5432"
[gateway]
username = "lab"
password = "correct horse"
session_key = "a key of at least sixteen"
max_body_mb = 1
"""


@dataclasses.dataclass(frozen=True)
class PostgresServer:
    """A running server on a unix socket in `directory`, trusting every role."""

    directory: Path

    def url(self, role: str) -> str:
        """Return the SQLAlchemy URL of the database for `role`."""
        return f"postgresql+psycopg://{role}@/mosaic?host={self.directory}&port=5432"


def _programs() -> Path | None:
    found = shutil.which("initdb")
    candidates = [Path(found).resolve().parent] if found else []
    installed = Path("/usr/lib/postgresql").glob("*/bin")
    candidates += sorted(installed, key=lambda path: -float(path.parent.name))
    return next((path for path in candidates if (path / "initdb").exists()), None)


def _grant(directory: Path) -> None:
    """Make the roles and the database as the lab does."""
    with psycopg.connect(host=str(directory), user="postgres", autocommit=True) as connection:
        for statement in ROLES:
            connection.execute(statement)
    with psycopg.connect(host=str(directory), user="postgres", dbname="mosaic") as connection:
        connection.execute(GRANTS)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """Start a server for this session; without its programs skip, but fail where no test may be left out."""
    programs = _programs()
    if programs is None:
        reason = "PostgreSQL's server programs are missing: apt-get install postgresql"
        if os.environ.get("CI") or os.environ.get("LAB_TEST"):
            pytest.fail(reason)
        pytest.skip(reason)
    # A unix socket's path is limited to 107 bytes, so not below pytest's own folders.
    directory = Path(tempfile.mkdtemp(prefix="mosaic-pg-", dir="/tmp"))
    # PostgreSQL refuses to run as root.
    user: dict[str, Any] = {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}
    if user:
        shutil.chown(directory, **user)

    def run(program: str, *arguments: str) -> None:
        command = [str(programs / program), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", **user)

    data = str(directory / "data")
    server = f"-k {directory} -c listen_addresses='' -c fsync=off -c max_connections=40"
    try:
        run(
            "initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8", "-D", data
        )
        run("pg_ctl", "-w", "-D", data, "-l", str(directory / "log"), "-o", server, "start")
        try:
            _grant(directory)
            yield PostgresServer(directory)
        finally:
            run("pg_ctl", "-w", "-m", "immediate", "-D", data, "stop")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def owner_engine(postgres_server: PostgresServer) -> Iterator[Engine]:
    """Yield an engine of the schema's owner, the schema migrated."""
    owner = make_engine(postgres_server.url("mosaic_owner"))
    migrate(owner)
    yield owner
    owner.dispose()


@pytest.fixture
def config(
    owner_engine: Engine, postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Config]:
    """Make this process `worker-1`, with an empty ledger reached as the application's role."""
    path = tmp_path / "mosaic.toml"
    path.write_text(CONFIG.format(host="worker-1", socket=postgres_server.directory))
    monkeypatch.setenv("MOSAIC_CONFIG", str(path))
    tables = ", ".join(f'"{table}"' for table in Base.metadata.tables)
    with owner_engine.begin() as connection:
        connection.execute(text(f"TRUNCATE {tables}, celery_taskmeta, celery_tasksetmeta"))
    load_config.cache_clear()
    engine.cache_clear()
    yield load_config()
    engine().dispose()
    load_config.cache_clear()
    engine.cache_clear()


class RecordingPublisher:
    """Keeps what would be published; with `broken`, confirms nothing."""

    def __init__(self) -> None:
        self.calls: list[TaskCall] = []
        self.broken = False

    def __call__(self, calls: Sequence[TaskCall], _seconds: float) -> None:
        """Record the calls."""
        if self.broken:
            raise Unconfirmed(str(call.task_id) for call in calls)
        self.calls.extend(calls)


@pytest.fixture
def publisher() -> RecordingPublisher:
    """Return a publisher that records."""
    return RecordingPublisher()


@pytest.fixture
def anonymous(config: Config, publisher: RecordingPublisher) -> Iterator[TestClient]:
    """Yield a client that has not logged in."""
    gateway = create_gateway(config, publisher)
    with TestClient(gateway, base_url="https://console.lab", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def client(anonymous: TestClient) -> TestClient:
    """Return a client with HTTP Basic credentials."""
    anonymous.auth = ("lab", "correct horse")
    return anonymous


@pytest.fixture
def served(config: Config, publisher: RecordingPublisher) -> Iterator[str]:
    """Serve the gateway on loopback and yield its address; event streams need a real server."""
    gateway = create_gateway(config, publisher)
    settings = uvicorn.Config(gateway, host="127.0.0.1", port=0, log_config=None, timeout_graceful_shutdown=2)
    server = NotifyingServer(settings, gateway)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started:
        assert time.monotonic() < deadline, "the gateway does not start"
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(timeout=10)
    assert not thread.is_alive(), "the gateway does not end"


@pytest.fixture
def browser(served: str) -> Iterator[httpx.Client]:
    """Yield a client of the served gateway, with HTTP Basic credentials."""
    with httpx.Client(base_url=served, auth=("lab", "correct horse"), timeout=10, trust_env=False) as client:
        yield client


@pytest.fixture
def app(config: Config) -> Celery:
    """Return the Celery application with its tasks loaded, as in a worker."""
    app = create_app(config)
    app.set_current()
    app.loader.import_default_modules()
    return app


@pytest.fixture
def republished(monkeypatch: pytest.MonkeyPatch) -> list[TaskCall]:
    """Return a list that collects what tasks publish, instead of a broker."""
    calls: list[TaskCall] = []

    def collect(_app: Celery, new: list[TaskCall]) -> None:
        calls.extend(new)

    monkeypatch.setattr("mosaic.tasks.base.publish", collect)
    monkeypatch.setattr("mosaic.tasks.upkeep.publish", collect)
    return calls
