"""A log record, as it is published and stored."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, BeforeValidator, Field
from pydantic.dataclasses import dataclass


def _storable(value: object) -> str:
    """Return text that PostgreSQL accepts: without NUL, without a lone surrogate."""
    return str(value).replace("\0", "").encode("utf-8", "replace").decode("utf-8")


Text = Annotated[str, BeforeValidator(_storable)]


@dataclass(frozen=True)
class Entry:
    """One journal entry; `severity` is 0 (emerg) to 7 (debug); `message_id` is unique."""

    message_id: Annotated[str, Field(min_length=1)]
    host: Text
    severity: Annotated[int, Field(ge=0, le=7)]
    unit: Text
    message: Text
    logged_at: AwareDatetime
