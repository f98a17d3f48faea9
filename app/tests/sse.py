"""Reading event streams in tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Heard:
    """One event of a stream."""

    kind: str
    data: Any
    id: str | None


def events(answer: httpx.Response) -> Iterator[Heard]:
    """Yield the events of an open stream; keepalives and ages of figures are left out."""
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
            continue
        if fields.get("event", "alive") not in ("alive", "age"):
            yield Heard(fields["event"], json.loads(fields["data"]), fields.get("id"))
        fields = {}
