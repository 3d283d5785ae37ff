"""Who may wait: a queue is bounded by the time that its work takes, so that none waits in vain.

The longest wait is a promise to callers; more work than that is refused at once, with the time
at which it is worth trying again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Literal

from service.batching import WEIGHTS, BatchQueue, Flow
from service.jobs import Lane


@dataclass(frozen=True)
class Refusal:
    """Why an entry is not let in, and in how many seconds it may be tried again."""

    reason: Literal["QUEUE_FULL", "DEADLINE_UNREACHABLE"]
    wait_s: float
    """Predicted seconds until the engine would have begun with it."""
    retry_after_s: float


class Admission:
    """Predicts waits and decides who is let into a queue."""

    def __init__(self, queue: BatchQueue[Any], jitter: Callable[[], float] = random.random) -> None:
        """``jitter`` returns 0..1."""
        self._queue, self._jitter = queue, jitter

    def refusal(
        self,
        lane: Lane,
        now: float,
        deadline: float | None = None,
        busy_s: float = 0.0,
        engines: int = 1,
        ahead: int = 0,
    ) -> Refusal | None:
        """Say why an entry of a lane cannot be let in; None if it can.

        ``busy_s`` is how long the engines are busy with what they have, ``ahead`` the number of
        images that are about to wait.
        """
        queue, limits = self._queue, self._queue.limits
        wait = self.predicted_wait(lane, busy_s, engines, ahead)
        over = (
            wait > limits.max_wait_s
            or queue.waiting + ahead >= limits.max_waiting
            or queue.waiting_pixels >= limits.max_waiting_pixels
        )
        if over:
            return self._refuse("QUEUE_FULL", wait)
        # An engine that has nothing else to do may as well try.
        if wait and deadline is not None and now + wait + queue.times.mean() > deadline:
            return self._refuse("DEADLINE_UNREACHABLE", wait)
        return None

    def predicted_wait(
        self, lane: Lane, busy_s: float = 0.0, engines: int = 1, ahead: int = 0
    ) -> float:
        """Return the seconds that an entry put into a lane now would wait.

        A lane waits for its own work at the speed of its share, but never for more than there is.
        """
        coming = self._queue.times.mean() * -(-ahead // self._queue.limits.max_batch)
        return busy_s + (self._waiting_s(lane) + coming) / max(1, engines)

    def _waiting_s(self, lane: Lane) -> float:
        depths = self._queue.depths()
        if not depths:
            return 0.0
        everything = self._backlog(depths)
        if all(waiting == lane for waiting, _ in depths):
            return everything
        lanes = {waiting for waiting, _ in depths} | {lane}
        share = WEIGHTS[lane] / sum(WEIGHTS[waiting] for waiting in lanes)
        own = self._backlog({flow: n for flow, n in depths.items() if flow[0] == lane})
        return min(own / share, everything)

    def _backlog(self, depths: dict[Flow, int]) -> float:
        """Return the predicted seconds of what waits in some flows."""
        images: dict[Hashable, int] = {}
        for (_, bucket), entries in depths.items():
            images[bucket] = images.get(bucket, 0) + entries
        return sum(self._queue.seconds(bucket, n) for bucket, n in images.items())

    def _refuse(
        self, reason: Literal["QUEUE_FULL", "DEADLINE_UNREACHABLE"], wait: float
    ) -> Refusal:
        # Spread out, so that those who were refused together do not come back together.
        return Refusal(reason, wait, max(wait, 0.1) * (1 + self._jitter() / 2))
