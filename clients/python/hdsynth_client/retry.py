"""When to send a request again."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from hdsynth_client.errors import ConnectionFailedError, ServiceError

T = TypeVar("T")


@dataclass(frozen=True)
class Retry:
    """Requests are pure, so any may be sent again; the server says when."""

    attempts: int = 5
    """Most requests sent for one call; 1 = never again."""
    total_s: float = 30.0
    """No new attempt starts after this many seconds."""
    base_s: float = 0.1
    """First pause where the server names none; it doubles from attempt to attempt."""

    def pause(self, error: Exception, attempt: int, elapsed_s: float) -> float | None:
        """Return the seconds to wait before attempt ``attempt + 1``; None = give up."""
        if isinstance(error, ServiceError):
            if not error.retryable:
                return None
            named = error.retry_after_s
        elif isinstance(error, ConnectionFailedError):
            named = None
        else:
            return None
        # Never before the time that the server named; clients come back spread out.
        wait = (self.base_s * 2 ** (attempt - 1) if named is None else named) * (
            1 + 0.25 * random.random()  # noqa: S311, no secret
        )
        return wait if attempt < self.attempts and elapsed_s + wait <= self.total_s else None

    def run(self, call: Callable[[], T]) -> T:
        """Call until it succeeds or must not be repeated."""
        started, attempt = time.monotonic(), 1
        while True:
            try:
                return call()
            except (ServiceError, ConnectionFailedError) as error:
                wait = self.pause(error, attempt, time.monotonic() - started)
                if wait is None:
                    raise
            time.sleep(wait)
            attempt += 1

    async def run_async(self, call: Callable[[], Awaitable[T]]) -> T:
        """Do the same with a coroutine function."""
        started, attempt = time.monotonic(), 1
        while True:
            try:
                return await call()
            except (ServiceError, ConnectionFailedError) as error:
                wait = self.pause(error, attempt, time.monotonic() - started)
                if wait is None:
                    raise
            await asyncio.sleep(wait)
            attempt += 1
