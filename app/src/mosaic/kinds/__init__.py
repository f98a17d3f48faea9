"""The kinds of jobs. A new one is a folder here, see mosaic.kinds.kind, and its name below.

Importing this needs neither numpy nor Pillow.
"""

from __future__ import annotations

from importlib import import_module

from mosaic.kinds.kind import Kind

# In the order of the Jobs page; the first form is the wide one.
NAMES = (
    "render",
    "scale",
    "digest",
    "primes",
)
KINDS: dict[str, Kind] = {name: import_module(f"{__name__}.{name}").KIND for name in NAMES}


def kind_of(name: str) -> Kind:
    """Return a kind; also for jobs of one that this version does not have, or not yet."""
    return KINDS.get(name) or Kind(name, "", "")
