"""Primes: counted up to a number, in a few parts of several minutes."""

from __future__ import annotations

from mosaic.kinds.kind import Kind

DEFAULT_UP_TO = 10**11
MIN_UP_TO = 1000
MAX_UP_TO = 10**12
DEFAULT_PARTS = 3
MAX_PARTS = 64

KIND = Kind(
    name="primes",
    summary="Count the primes up to a number, in parts of several minutes.",
    routing_key="long",
    form_values={
        "up_to": DEFAULT_UP_TO,
        "min_up_to": MIN_UP_TO,
        "max_up_to": MAX_UP_TO,
        "parts": DEFAULT_PARTS,
        "max_parts": MAX_PARTS,
    },
)
