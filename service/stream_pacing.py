"""At what pace the server can follow a stream, from what it has measured of it."""

from __future__ import annotations

PERIOD_S = 1.0
"""Between two judgements."""
BEHIND = 1.1
"""The client is too fast if it sends this many times the frames that it gets back."""
CHANGE = 0.2
"""Share by which a pace has to change to be worth telling."""


class Pacer:
    """Compares what comes in with what goes out. Times are passed in, in seconds."""

    def __init__(self, now: float) -> None:
        self._told: float | None = None
        self._start(now)

    def arrived(self) -> None:
        """Count a frame."""
        self._arrived += 1

    def delivered(self, now: float, busy_s: float) -> float | None:
        """Count a result that waited for and had the engine for ``busy_s``.

        Returns frames per second to tell the client, None if there is no news.
        """
        self._delivered += 1
        self._busy_s += busy_s
        elapsed = now - self._since
        if elapsed < PERIOD_S:
            return None
        pace = self._pace(elapsed)
        self._start(now)
        if pace is None or (self._told and abs(pace / self._told - 1) < CHANGE):
            return None
        self._told = pace
        return pace

    def _start(self, now: float) -> None:
        self._since, self._arrived, self._delivered, self._busy_s = now, 0, 0, 0.0

    def _pace(self, elapsed: float) -> float | None:
        rate = self._delivered / elapsed
        if self._arrived > BEHIND * self._delivered:
            return rate
        if self._told is None:
            return None
        # It keeps to what it was told. One frame after the other could be served this fast.
        return max(rate, self._delivered / max(self._busy_s, 1e-3))
