"""The kinds of jobs. A new kind is a folder here (see mosaic.kinds.kind) and its name below.

This module imports neither numpy nor Pillow.
"""

from __future__ import annotations

from importlib import import_module

from mosaic.kinds.kind import Kind

# In the order of the Jobs page. The first form is wider than the others.
NAMES = (
    "render",
    "scale",
    "digest",
    "primes",
)
KINDS: dict[str, Kind] = {name: import_module(f"{__name__}.{name}").KIND for name in NAMES}


def kind_of(name: str) -> Kind:
    """Return a kind, also for a job whose kind this version does not have."""
    return KINDS.get(name) or Kind(name, "", "")
