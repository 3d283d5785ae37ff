"""Who is served next, so that everyone who waits gets a share by weight and nobody starves.

Start-time fair queueing (Goyal, Vin, Cheng 1996): each flow counts what it was served, divided by
its weight, and the flow that counts least is next. It is deficit round robin without rounds. Who
has not waited for a while gets no credit for it: he joins where the others are.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class FairShare(Generic[K]):
    """The accounts of flows that share one engine."""

    def __init__(self, weight: Callable[[K], float] = lambda _: 1.0) -> None:
        self._weight = weight
        self._served: dict[K, float] = {}
        self._waiting: set[K] = set()
        self._now = 0.0

    def join(self, flow: K) -> None:
        """A flow that did not wait waits from now on."""
        self._waiting.add(flow)
        self._served[flow] = max(self._served.get(flow, 0.0), self._now)

    def leave(self, flow: K) -> None:
        """A flow waits no longer; forgotten as soon as what it was served no longer counts."""
        self._waiting.discard(flow)
        self._served = {
            flow: served
            for flow, served in self._served.items()
            if flow in self._waiting or served > self._now
        }

    def pick(self, flows: Iterable[K]) -> K:
        """Return whose turn it is among flows that wait; of equals, the first."""
        chosen = min(flows, key=self._served.__getitem__)
        self._now = max(self._now, self._served[chosen])
        return chosen

    def ranked(self, flows: Iterable[K]) -> list[K]:
        """Return the flows in the order of their turns."""
        return sorted(flows, key=self._served.__getitem__)

    def charge(self, flow: K, cost: float) -> None:
        """Count what a flow was served."""
        self._served[flow] += cost / self._weight(flow)
