"""Counting primes by a segmented sieve that can be interrupted after each segment."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Odd numbers in one segment, one byte each: about 30 ms of work. Smaller segments repeat each divisor too
# often.
SEGMENT = 2**22


@dataclass(frozen=True)
class Tally:
    """The number of primes below `at`, and the largest of them (0: none)."""

    at: int
    primes: int = 0
    largest: int = 0


def tallies(tally: Tally, stop: int, segment: int = SEGMENT) -> Iterator[Tally]:
    """Continue from `tally` to `stop`; yield the tally after each segment, the last one at `stop`."""
    if tally.at <= 2 < stop:
        tally = Tally(3, tally.primes + 1, 2)
        yield tally
    divisors = odd_primes(math.isqrt(max(0, stop - 1)))
    while tally.at < stop:
        low, end = tally.at | 1, min(tally.at + 2 * segment, stop)
        is_prime = _sieved(low, end, divisors)
        found = int(np.count_nonzero(is_prime))
        largest = low + 2 * (len(is_prime) - 1 - int(np.argmax(is_prime[::-1]))) if found else tally.largest
        tally = Tally(end, tally.primes + found, largest)
        yield tally


def odd_primes(limit: int) -> NDArray[np.int64]:
    """Return the odd primes up to `limit`, which is at most a million."""
    flags = np.ones(limit + 1, dtype=bool)
    flags[:3] = False
    flags[4::2] = False
    for number in range(3, math.isqrt(limit) + 1, 2):
        if flags[number]:
            flags[number * number :: number] = False
    return np.flatnonzero(flags)


def _sieved(low: int, high: int, divisors: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return for each odd number from `low` (odd) to below `high` whether it is prime."""
    flags = np.ones(max(0, (high - low + 1) // 2), dtype=bool)
    if low == 1:
        flags[:1] = False
    # The first odd multiple of each divisor that no smaller divisor has removed.
    first = np.maximum(divisors * divisors, -(-low // divisors) * divisors)
    first += divisors * (first % 2 == 0)
    for start, divisor in zip(((first - low) // 2).tolist(), divisors.tolist(), strict=True):
        flags[start::divisor] = False
    return flags
