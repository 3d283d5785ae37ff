"""The engines that serve one model, and how much each of them has to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import monotonic

from service.engine_child import SLOTS
from service.engine_process import EngineProcess, EngineState
from service.working_time import WorkingTime

HANGING = 10
"""An engine hangs if it takes this many times the predicted time,"""
HANGING_S = 60.0
"""but not before this many seconds."""


class EnginePool:
    """Knows who is at work, who can take a batch, and when the next one will be free."""

    def __init__(self, engines: Sequence[EngineProcess]) -> None:
        self.engines = engines
        self._batches = dict.fromkeys(engines, 0)
        self._busy_until = dict.fromkeys(engines, 0.0)
        self._working = WorkingTime(monotonic())

    def at_work(self) -> list[EngineProcess]:
        """Return the engines that are warm."""
        return [engine for engine in self.engines if engine.state is EngineState.RUNNING]

    def sizes(self) -> frozenset[tuple[int, int]] | None:
        """Return the heights and widths that the engines were built for; None = any."""
        built = [engine.about.sizes for engine in self.engines if engine.about is not None]
        every = [sizes for sizes in built if sizes is not None]
        return frozenset().union(*every) if built and len(every) == len(built) else None

    def takers(self) -> Iterator[tuple[EngineProcess, bool]]:
        """Yield each engine that can take a batch, and whether it is busy with another one.

        Idle engines come first: nothing may lie ready at one while another could run it.
        """
        for batches in range(SLOTS):
            for engine in self.at_work():
                if self._batches[engine] == batches:
                    yield engine, batches > 0

    def begin(self, engine: EngineProcess, seconds: float, now: float) -> float:
        """Note a batch that is predicted to take ``seconds``; returns when its engine hangs."""
        self._batches[engine] += 1
        self._working.begin(engine, now)
        self._busy_until[engine] = max(now, self._busy_until[engine]) + seconds
        return max(HANGING_S, HANGING * (self._busy_until[engine] - now))

    def end(self, engine: EngineProcess) -> None:
        """Note that an engine is done with a batch."""
        self._batches[engine] -= 1
        if not self._batches[engine]:
            self._busy_until[engine] = 0.0
            self._working.end(engine, monotonic())

    def busy_ratio(self, now: float) -> float:
        """Return the part of the last half minute in which the engines worked, 0..1."""
        return self._working.ratio(now, len(self.engines))

    def busy_s(self, now: float) -> float:
        """Return the seconds until the first engine is done with what it has."""
        ends = (self._busy_until[engine] for engine in self.at_work())
        return max(0.0, min(ends, default=now) - now)

    def has_work(self) -> bool:
        """Whether any engine has a batch."""
        return any(self._batches.values())

    def can_start(self) -> bool:
        """Whether an engine has nothing to do."""
        return any(not self._batches[engine] for engine in self.at_work())

    def back_in_s(self) -> float:
        """Return the seconds that an engine takes to be there again after it was lost."""
        return max(1.0, min(engine.load_seconds for engine in self.engines))
