"""The numbers up to a limit become ranges: one part for each, and one part that adds their results."""

from __future__ import annotations

from itertools import pairwise
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mosaic.kinds.primes import DEFAULT_PARTS, DEFAULT_UP_TO, MAX_PARTS, MAX_UP_TO, MIN_UP_TO
from mosaic.ledger.jobs import JobPlan, PlannedPart

# 6 to 11 minutes on one core; the limit of an attempt is 24: mosaic.settings.LONG_SOFT_TIME_LIMIT_SECONDS.
MAX_NUMBERS_A_PART = 10**11


class PrimesRequest(BaseModel):
    """Count the primes up to and including `up_to`, in `parts` ranges of equal size."""

    model_config = ConfigDict(extra="forbid")

    up_to: int = Field(default=DEFAULT_UP_TO, ge=MIN_UP_TO, le=MAX_UP_TO)
    parts: int = Field(default=DEFAULT_PARTS, ge=1, le=MAX_PARTS)

    @model_validator(mode="after")
    def check_parts(self) -> Self:
        """Check that each part can end within its time limit."""
        needed = -(-self.up_to // MAX_NUMBERS_A_PART)
        if self.parts < needed:
            raise ValueError(f"a part would take too long: ask for {needed} parts, or a smaller up_to.")
        return self


def plan(request: PrimesRequest) -> JobPlan:
    """Return the plan of a count."""
    bounds = [(request.up_to + 1) * index // request.parts for index in range(request.parts + 1)]
    parts = [PlannedPart("mosaic.primes.count", {"from": low, "to": high}) for low, high in pairwise(bounds)]
    parts.append(PlannedPart("mosaic.primes.sum", {}, joins=True))
    return JobPlan("primes", {"up_to": request.up_to, "parts": request.parts}, parts)
