"""The configuration of one host: a TOML file, read once, checked key by key."""

from __future__ import annotations

import dataclasses
import os
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

DEFAULT_PATH = Path("/etc/mosaic/mosaic.toml")
PATH_VARIABLE = "MOSAIC_CONFIG"

Section = TypeVar("Section")


class ConfigError(Exception):
    """The configuration is missing or wrong; the message is one sentence with its remedy."""


@dataclasses.dataclass(frozen=True)
class Broker:
    """Where RabbitMQ is reached, and as whom."""

    url: str = dataclasses.field(repr=False)
    logs_url: str = dataclasses.field(default="", repr=False)
    heartbeat: int = 10
    #: Statistics socket of this host's proxy; empty: the console does not show it.
    proxy_socket: str = ""


@dataclasses.dataclass(frozen=True)
class Database:
    """Where PostgreSQL is reached: a SQLAlchemy URL of the psycopg driver."""

    url: str = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class Gateway:
    """Login, session signing and socket of the HTTP gateway."""

    username: str
    password: str = dataclasses.field(repr=False)
    session_key: str = dataclasses.field(repr=False)
    socket: str = "/run/mosaic/gateway.sock"
    max_body_mb: int = 32
    max_running_jobs: int = 300


@dataclasses.dataclass(frozen=True)
class Lab:
    """What the console watches: the hosts by name, and how a gateway looks at brokers and at the monitor.

    `monitor_user` may look at the brokers' management API and change nothing. `prometheus_url` is empty where
    no monitor is set up.
    """

    brokers: tuple[str, ...] = ()
    workers: tuple[str, ...] = ()
    check_port: int = 5670
    management_port: int = 15671
    monitor_user: str = "monitor"
    monitor_password: str = dataclasses.field(default="", repr=False)
    vhost: str = "mosaic"
    ca_file: str = "/etc/warren/pki/ca.pem"
    prometheus_url: str = ""


@dataclasses.dataclass(frozen=True)
class Upkeep:
    """When the sweep publishes a part again, and how long records are kept.

    `accepted_seconds`: accepted and not started, its queue empty. `running_seconds`: started and neither
    done nor failed; above the hard time limit of a task. `max_attempts`: starts after which a part fails.
    """

    accepted_seconds: int = 20
    running_seconds: int = 330
    max_attempts: int = 10
    keep_days: int = 7


@dataclasses.dataclass(frozen=True)
class Config:
    """All of the file; `gateway` is absent on hosts that serve no HTTP."""

    host: str
    broker: Broker
    database: Database
    gateway: Gateway | None = None
    upkeep: Upkeep = dataclasses.field(default_factory=Upkeep)
    lab: Lab = dataclasses.field(default_factory=Lab)


def config_path() -> Path:
    """Return the path named by MOSAIC_CONFIG, else the default."""
    return Path(os.environ.get(PATH_VARIABLE) or DEFAULT_PATH)


@cache
def load_config() -> Config:
    """Read this process's configuration once. Raises ConfigError."""
    return read_config(config_path())


def read_config(path: Path) -> Config:
    """Read and check the file at `path`. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist: write it, or name another with {PATH_VARIABLE}.") from None
    except PermissionError:
        raise ConfigError(f"{path} may not be read by this user: run as root or in group mosaic.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read ({error}): replace it by a UTF-8 text file.") from error
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from error
    try:
        return parse_config(table)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def parse_config(table: dict[str, Any]) -> Config:
    """Turn a parsed TOML table into a Config. Raises ConfigError."""
    known = {"host", "broker", "database", "gateway", "upkeep", "lab"}
    for key in sorted(table.keys() - known):
        raise ConfigError(f"unknown key {key!r}; known are {', '.join(sorted(known))}.")
    host = table.get("host")
    if not isinstance(host, str) or not host.strip():
        raise ConfigError("host must be this node's name, a text that is not empty.")
    config = Config(
        host=host,
        broker=_section(Broker, table, "broker"),
        database=_section(Database, table, "database"),
        gateway=_section(Gateway, table, "gateway") if "gateway" in table else None,
        upkeep=_section(Upkeep, table, "upkeep") if "upkeep" in table else Upkeep(),
        lab=_section(Lab, table, "lab") if "lab" in table else Lab(),
    )
    _check_values(config)
    return config


def _section(kind: type[Section], table: dict[str, Any], name: str) -> Section:
    values = table.get(name)
    if not isinstance(values, dict):
        raise ConfigError(f"the table [{name}] is missing.")
    hints = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise ConfigError(f"unknown key {name}.{key}; known are {', '.join(sorted(fields))}.")
    for key, field in fields.items():
        if key not in values and field.default is dataclasses.MISSING:
            raise ConfigError(f"{name}.{key} is missing.")
    return kind(**{key: _value(f"{name}.{key}", value, hints[key]) for key, value in values.items()})


def _value(name: str, value: Any, hint: Any) -> Any:
    if hint == tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ConfigError(f"{name} must be a list of texts.")
        return tuple(value)
    if type(value) is not hint:
        raise ConfigError(f"{name} must be of type {hint.__name__}.")
    return value


def _check_values(config: Config) -> None:
    for name, url in (("broker.url", config.broker.url), ("broker.logs_url", config.broker.logs_url)):
        _require(
            not url or url.startswith("amqp://"),
            f"{name} must start with amqp:// (the proxy on this host speaks TLS for it).",
        )
        _require(";" not in url, f"{name} must name one broker address; fail-over is the proxy's.")
    _require(bool(config.broker.url), "broker.url must not be empty.")
    _require(
        config.database.url.startswith("postgresql+psycopg://"),
        "database.url must start with postgresql+psycopg://.",
    )
    _require(1 <= config.broker.heartbeat <= 60, "broker.heartbeat must be between 1 and 60 seconds.")
    for field in dataclasses.fields(config.upkeep):
        _require(getattr(config.upkeep, field.name) >= 1, f"upkeep.{field.name} must be at least 1.")
    if config.gateway is not None:
        _check_gateway(config.gateway)
    url = config.lab.prometheus_url
    _require(
        not url or url.startswith(("http://", "https://")),
        "lab.prometheus_url must start with http:// or https://, or be empty.",
    )


def _check_gateway(gateway: Gateway) -> None:
    for key in ("username", "password", "session_key", "socket"):
        _require(bool(getattr(gateway, key)), f"gateway.{key} must not be empty.")
    _require(len(gateway.session_key) >= 16, "gateway.session_key must have at least 16 characters.")
    _require(1 <= gateway.max_body_mb <= 1024, "gateway.max_body_mb must be between 1 and 1024.")
    _require(gateway.max_running_jobs >= 1, "gateway.max_running_jobs must be at least 1.")


def _require(is_right: bool, sentence: str) -> None:
    if not is_right:
        raise ConfigError(sentence)
