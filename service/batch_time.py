"""How long a batch takes: a straight line through the recent runs, seconds = a * pixels + b."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable, Sequence

WINDOW = 64
"""Recent runs that a line is drawn through."""
MAX_BUCKETS = 256
"""Callers choose the sizes of their scenes, so only the buckets used last are remembered."""


class BatchTime:
    """Predicts the seconds of a batch from those that ran before it, per bucket."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[Hashable, _Line] = OrderedDict()
        self._all = _Line()

    def observe(self, bucket: Hashable, pixels: int, seconds: float) -> None:
        """Learn from a run over ``pixels`` pixels in total."""
        line = self._buckets.pop(bucket, None) or _Line()
        self._buckets[bucket] = line
        if len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)
        line.add(pixels, seconds)
        self._all.add(pixels, seconds)

    def predict(self, bucket: Hashable, pixels: int) -> float:
        """Return the seconds that ``pixels`` pixels will take; 0 before the first run.

        A bucket that has not run yet is judged by all others.
        """
        return self._buckets.get(bucket, self._all).at(pixels)

    def mean(self) -> float:
        """Return the seconds of the recent runs on average; 0 before the first one."""
        return self._all.mean_seconds


class _Line:
    """Least squares over the last runs, with neither a negative start nor a negative slope."""

    def __init__(self) -> None:
        self._runs: deque[tuple[int, float]] = deque(maxlen=WINDOW)
        self._slope = self._start = self.mean_seconds = 0.0

    def add(self, pixels: int, seconds: float) -> None:
        self._runs.append((pixels, seconds))
        self._slope, self._start = _fit(self._runs)
        self.mean_seconds = sum(y for _, y in self._runs) / len(self._runs)

    def at(self, pixels: int) -> float:
        return self._slope * pixels + self._start


def _fit(runs: Sequence[tuple[int, float]]) -> tuple[float, float]:
    mean_x = sum(x for x, _ in runs) / len(runs)
    mean_y = sum(y for _, y in runs) / len(runs)
    spread = sum((x - mean_x) ** 2 for x, _ in runs)
    if spread == 0:
        return mean_y / mean_x, 0.0
    slope = sum((x - mean_x) * (y - mean_y) for x, y in runs) / spread
    start = mean_y - slope * mean_x
    if slope < 0:
        return 0.0, mean_y
    if start < 0:
        return sum(x * y for x, y in runs) / sum(x * x for x, _ in runs), 0.0
    return slope, start
