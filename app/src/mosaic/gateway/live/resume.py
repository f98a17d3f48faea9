"""Where a cut stream is taken up again: at the time of the latest event that was seen, which is its id."""

from __future__ import annotations

import datetime
from typing import Annotated

from fastapi import Depends, Header, Query

EARLIEST_YEAR = 2000


def parse_time(text: str | None) -> datetime.datetime | None:
    """Return a time with its zone, or None for anything else: an unknown id starts from the beginning."""
    try:
        found = datetime.datetime.fromisoformat(text or "")
    except ValueError:
        return None
    # What lies before this lab could overflow when an overlap is taken off.
    return found if found.tzinfo is not None and found.year >= EARLIEST_YEAR else None


async def latest_seen(
    after: Annotated[str | None, Query(max_length=64)] = None,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID", max_length=64)] = None,
) -> datetime.datetime | None:
    """Return when the latest event was that this reader has seen: by a browser's header, or by `after`."""
    return parse_time(last_event_id or after)


LatestSeen = Annotated[datetime.datetime | None, Depends(latest_seen)]
