"""The worker hosts and the other applications of the lab: a JSON file of the role gateway."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mosaic.config import config_path

FILE = "applications.json"
# Options of a worker with which its heartbeats do not come, or not while a task runs.
NO_HEARTBEAT = "--without-heartbeat"
SOLO = "solo"


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class DeclaredWorker(_Part):
    """A worker that runs on every worker host; in a queue's name, `%H` is the host."""

    name: str
    queues: list[str]
    concurrency: int
    options: list[str] = []

    def queues_on(self, host: str) -> list[str]:
        """Return the names of its queues on a host."""
        return [queue.replace("%H", host) for queue in self.queues]


class Application(_Part):
    """An application; its name is that of its vhost."""

    name: str
    workers: list[DeclaredWorker]
    beat: bool = False


class Declared(_Part):
    """The worker hosts and the other applications.

    A broker user may read the events of these applications and nothing else.
    """

    worker_hosts: list[str] = []
    applications: list[Application] = []
    broker: str = ""
    user: str = ""
    password: Annotated[str, Field(repr=False)] = ""

    def url(self, application: str) -> str:
        """Return the address of the application's vhost."""
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        return f"amqp://{login}@{self.broker}/{quote(application, safe='')}"


def read_declared(path: Path | None = None) -> Declared:
    """Read the file, beside the configuration unless `path` is given. No file: no application.

    Raises ValueError, whose message shows no secret.
    """
    file = path or config_path().with_name(FILE)
    try:
        return Declared.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Declared()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ValueError(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from None
