"""Rates from counters that are read at uneven times and start again from zero."""

from __future__ import annotations

from collections import deque

WINDOW_SECONDS = 5.0


class Rates:
    """The rate of each named counter over the last seconds."""

    def __init__(self, window: float = WINDOW_SECONDS) -> None:
        """Look back `window` seconds."""
        self._window = window
        self._samples: dict[str, deque[tuple[float, int]]] = {}

    def take(self, name: str, at: float, count: int) -> float:
        """Take a reading (seconds on any clock, count); return the rate a second, rounded to 0.1."""
        samples = self._samples.setdefault(name, deque())
        if samples and count < samples[-1][1]:
            samples.clear()  # a new process counts from zero
        samples.append((at, count))
        while len(samples) > 2 and samples[1][0] <= at - self._window:
            samples.popleft()
        first_at, first = samples[0]
        return round((count - first) / (at - first_at), 1) if at > first_at else 0.0
