"""How busy the engines were lately: the number to scale a fleet on."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

WINDOW_S = 30.0
"""Seconds looked back: two scrapes, so that one long run does not look like a busy server."""


class WorkingTime:
    """Remembers when each engine worked during the last ``WINDOW_S`` seconds."""

    def __init__(self, now: float) -> None:
        self._from = now
        self._spans: deque[tuple[float, float]] = deque()
        self._since: dict[Hashable, float] = {}

    def begin(self, engine: Hashable, now: float) -> None:
        """Note that an engine has something to do; more of it changes nothing."""
        self._since.setdefault(engine, now)

    def end(self, engine: Hashable, now: float) -> None:
        """Note that an engine has nothing to do any more."""
        self._spans.append((self._since.pop(engine), now))
        while self._spans[0][1] < now - WINDOW_S:
            self._spans.popleft()

    def ratio(self, now: float, engines: int) -> float:
        """Return the part of the time in which ``engines`` engines worked on average, 0..1.

        A server younger than the window is judged by its life.
        """
        start = max(self._from, now - WINDOW_S)
        running = ((since, now) for since in self._since.values())
        worked = sum(max(0.0, end - max(start, began)) for began, end in (*self._spans, *running))
        possible = engines * (now - start)
        return min(1.0, worked / possible) if possible > 0 else 0.0
