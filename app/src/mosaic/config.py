"""The configuration of one host: a TOML file, read once."""

from __future__ import annotations

import os
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

DEFAULT_PATH = Path("/etc/mosaic/mosaic.toml")
PATH_VARIABLE = "MOSAIC_CONFIG"


class ConfigError(Exception):
    """The configuration is missing or wrong; the message is one sentence with cause and remedy."""


def _address(*starts: str) -> AfterValidator:
    def check(url: str) -> str:
        if url and not url.startswith(starts):
            raise ValueError(f"must start with {' or '.join(starts)}")
        if url.startswith("amqp:") and ";" in url:
            raise ValueError("must be one address; the proxy does the fail-over")
        return url

    return AfterValidator(check)


# Without TLS: the proxy on this host adds it.
_AMQP = _address("amqp://")
Text = Annotated[str, Field(min_length=1)]
Secret = Annotated[str, Field(repr=False)]
AtLeastOne = Annotated[int, Field(ge=1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Broker(_Table):
    """Address and user of RabbitMQ.

    `heartbeat` is in seconds. `proxy_socket` is the statistics socket of this host's proxy. If it is empty,
    the console does not show the proxy.
    """

    url: Annotated[Text, Field(repr=False), _AMQP]
    heartbeat: Annotated[int, Field(ge=1, le=60)] = 10
    proxy_socket: str = ""


class Database(_Table):
    """Address of PostgreSQL: a SQLAlchemy URL with the psycopg driver."""

    url: Annotated[Text, Field(repr=False), _address("postgresql+psycopg://")]


class Gateway(_Table):
    """Account, session key, socket and limits of the HTTP gateway."""

    username: Text
    password: Annotated[Text, Field(repr=False)]
    session_key: Annotated[str, Field(min_length=16, repr=False)]
    socket: Text = "/run/mosaic/gateway.sock"
    max_body_mb: Annotated[int, Field(ge=1, le=1024)] = 32
    max_running_jobs: AtLeastOne = 300


class Lab(_Table):
    """The hosts that the console watches, and how it reaches brokers and the monitor.

    `monitor_user` may read the brokers' management API and change nothing. `prometheus_url` is empty in a lab
    without a monitor.
    """

    brokers: Annotated[tuple[str, ...], Field(strict=False)] = ()
    check_port: int = 5670
    management_port: int = 15671
    monitor_user: str = "monitor"
    monitor_password: Secret = ""
    vhost: str = "mosaic"
    ca_file: str = "/etc/warren/pki/ca.pem"
    prometheus_url: Annotated[str, _address("http://", "https://")] = ""


class Upkeep(_Table):
    """When the sweep publishes a part again, and how long records are kept.

    `accepted_seconds`: since it was published, if it has not started and its queue is empty.
    `running_seconds`: since its start or last report; longer than the hard time limit of a task that does not
    report. `max_attempts`: after so many starts the part fails.
    """

    accepted_seconds: AtLeastOne = 20
    running_seconds: AtLeastOne = 330
    max_attempts: AtLeastOne = 10
    keep_days: AtLeastOne = 7


class Config(_Table):
    """The whole file; `gateway` is missing on hosts without the gateway."""

    host: Text
    broker: Broker
    database: Database
    gateway: Gateway | None = None
    upkeep: Upkeep = Upkeep()
    lab: Lab = Lab()


def config_path() -> Path:
    """Return the path in MOSAIC_CONFIG, or the default."""
    return Path(os.environ.get(PATH_VARIABLE) or DEFAULT_PATH)


@cache
def load_config() -> Config:
    """Read this process's configuration once. Raises ConfigError."""
    return read_config(config_path())


def read_config(path: Path) -> Config:
    """Read and check the file at `path`. Raises ConfigError."""
    try:
        return parse_config(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist: create it, or set {PATH_VARIABLE}.") from None
    except PermissionError:
        raise ConfigError(f"{path} cannot be read by this user: use root or the group mosaic.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read ({error}): replace it with a UTF-8 text file.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def parse_config(table: dict[str, Any]) -> Config:
    """Turn a parsed TOML table into a Config. Raises ConfigError."""
    try:
        return Config.model_validate(table)
    except ValidationError as error:
        raise ConfigError(_sentence(dict(error.errors(include_url=False)[0]))) from None


def _sentence(error: dict[str, Any]) -> str:
    *tables, key = error["loc"]
    name = ".".join(map(str, error["loc"]))
    if error["type"] == "extra_forbidden":
        kinds = {kind.__name__.lower(): kind for kind in _Table.__subclasses__()}
        table = kinds[tables[0] if tables else "config"]
        return f"unknown key {name!r}; known keys are {', '.join(sorted(table.model_fields))}."
    if not tables and key != "host":
        return f"the table [{key}] is missing."
    if error["type"] == "missing":
        return f"{name} is missing."
    # Pydantic's message starts with "Input", "String" or "Value error".
    message = re.sub(r"^(\w+ should |Value error, must )", "must ", error["msg"])
    return f"{name} {message.replace('valid tuple', 'list')}."
