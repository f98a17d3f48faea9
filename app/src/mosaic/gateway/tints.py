"""The colours of hosts, the same on every page and in every picture."""

from __future__ import annotations

from collections.abc import Iterable

# Colour-blind people can distinguish them too (Okabe and Ito). A ninth host gets the first colour again.
TINTS = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (240, 228, 66),
    (213, 94, 0),
    (0, 114, 178),
    (153, 153, 153),
)


def host_tints(hosts: Iterable[str]) -> dict[str, tuple[int, int, int]]:
    """Return a colour for each host, in alphabetical order of the hosts."""
    return {host: TINTS[place % len(TINTS)] for place, host in enumerate(sorted(set(hosts)))}
