"""Client of the console's HTTP API: HTTP Basic over TLS, with the certificate checked by the lab's CA."""

import json
import ssl
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from typing import Any

import httpx

from labctl.errors import LabError, UsageError
from labctl.paths import LabPaths

USER = "lab"
PATIENCE_S = 20.0  # a gateway that was just restarted


@dataclass(frozen=True)
class Progress:
    """State of a job ("running", "done", "failed", "cancelled"), parts done of all and by host, its error."""

    state: str
    done: int
    total: int
    by_host: dict[str, int]
    error: str | None = None


def password(paths: LabPaths) -> str:
    """The console's password, which ./lab up creates; raises UsageError when there is none yet."""
    file = paths.secrets / "console_password"
    try:
        found = file.read_text(encoding="utf-8").removesuffix("\n")
    except OSError:
        found = ""
    if not found:
        raise UsageError(f"Lab {paths.name} has no console password yet; run ./lab up first.")
    return found


def published(url: str) -> str:
    """The console's address; raises UsageError when there is none."""
    if not url:
        raise UsageError(
            "No gateway is published; give gateways a `publish` for 443 in inventories/topology.yml."
        )
    return url


class Console(AbstractContextManager["Console"]):
    """The API at the console's address. Every method raises LabError when it gets no proper answer."""

    def __init__(self, url: str, paths: LabPaths, secret: str) -> None:
        if not paths.ca.exists():
            raise UsageError(f"Lab {paths.name} has no CA yet; run ./lab up first.")
        self._client = httpx.Client(
            base_url=published(url),
            auth=(USER, secret),
            verify=ssl.create_default_context(cafile=str(paths.ca)),
            timeout=20,
            trust_env=False,  # a proxy cannot reach 127.0.0.1
        )

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit_render(self, request: dict[str, object], priority: str) -> str:
        """Submit a render with a priority, normal or high; returns the job's id."""
        answer = self._call("POST", "/api/jobs/render", json=request, params={"priority": priority})
        return str(answer.json()["job"])

    def job(self, job: str) -> Progress:
        """The progress of a job."""
        answer = self.get(f"/api/jobs/{job}").json()
        return Progress(**{item.name: answer[item.name] for item in fields(Progress)})

    def get(self, path: str, **parameters: object) -> httpx.Response:
        """The answer to GET."""
        return self._call("GET", path, params=parameters)

    def follow(self, path: str, **parameters: str | float | bool) -> Iterator[tuple[str, Any]]:
        """The events of a stream until it ends: kind and data. Raises httpx.HTTPError when it breaks."""
        with self._client.stream("GET", path, params=parameters) as answer:
            kind = ""
            for line in answer.raise_for_status().iter_lines():
                name, _, value = line.partition(": ")
                if name == "event":
                    kind = value
                elif name == "data":
                    yield kind, json.loads(value)

    def ask_once(self, method: str, path: str, seconds: float, **arguments: Any) -> httpx.Response:
        """The first answer, also an error; raises httpx.HTTPError when none comes, as after a timeout."""
        return self._client.request(method, path, timeout=seconds, **arguments)

    def close(self) -> None:
        """Close the connections; running requests end with an error."""
        self._client.close()

    def _call(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                answer = self._client.request(method, path, **arguments)
                if answer.status_code not in (502, 503, 504):
                    break
                cause = f"HTTP {answer.status_code}: {_sentence(answer)}"
            except httpx.TransportError as error:
                cause = str(error) or type(error).__name__
            if time.monotonic() > deadline:
                raise LabError(
                    f"The console at {self._client.base_url} does not answer ({cause}); ./lab status shows"
                    " which node has a problem."
                )
            time.sleep(0.5)
        if answer.is_error:
            kind = UsageError if answer.status_code in (400, 422) else LabError
            raise kind(f"The console refused {method} {path} ({answer.status_code}): {_sentence(answer)}")
        return answer


def _sentence(answer: httpx.Response) -> str:
    """The gateway's own sentence; from another program, its text."""
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:300]
