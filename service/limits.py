"""How much one caller may ask: requests per second, and requests at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from service.errors import ServiceError

_FORGET_ABOVE = 4096
"""Callers that are remembered before idle ones are forgotten."""


@dataclass
class _Caller:
    tokens: float
    filled: float
    active: int = 0


class Limiter:
    """A token bucket and a count of running requests per caller, for every face of the server.

    ``rate`` is requests per second, of which one second's worth may come at once;
    ``concurrency`` is requests at once; 0 = unlimited. Belongs to one thread.
    """

    def __init__(
        self, rate: float, concurrency: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._concurrency, self._clock = rate, concurrency, clock
        self._burst = max(1.0, rate)
        self._callers: dict[str, _Caller] = {}

    @contextmanager
    def admit(self, caller: str) -> Iterator[None]:
        """Count one request of ``caller`` while it runs. Raises ServiceError RATE_LIMITED."""
        if not (self._rate or self._concurrency):
            yield
            return
        state = self._state(caller)
        if self._concurrency and state.active >= self._concurrency:
            raise ServiceError(
                "RATE_LIMITED",
                f"{state.active} requests of this caller are running; the limit is "
                f"{self._concurrency}",
                retry_after_s=1,
            )
        if self._rate:
            self._take(state)
        state.active += 1
        try:
            yield
        finally:
            state.active -= 1

    def _take(self, state: _Caller) -> None:
        now = self._clock()
        state.tokens = min(self._burst, state.tokens + (now - state.filled) * self._rate)
        state.filled = now
        if state.tokens < 1:
            raise ServiceError(
                "RATE_LIMITED",
                f"this caller sends more than {self._rate:g} requests per second",
                retry_after_s=(1 - state.tokens) / self._rate,
            )
        state.tokens -= 1

    def _state(self, caller: str) -> _Caller:
        if caller not in self._callers:
            if len(self._callers) >= _FORGET_ABOVE:
                self._forget_idle()
            self._callers[caller] = _Caller(self._burst, self._clock())
        return self._callers[caller]

    def _forget_idle(self) -> None:
        # Whoever has had time to fill the bucket again is as good as new.
        since = self._clock() - (self._burst / self._rate if self._rate else 0)
        idle = [name for name, c in self._callers.items() if not c.active and c.filled <= since]
        for name in idle:
            del self._callers[name]
