"""Callers stop waiting at a deadline, and are told so then, whatever is being done for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

from service.errors import ServiceError


@asynccontextmanager
async def until(deadline: float | None) -> AsyncIterator[None]:
    """Raise ServiceError DEADLINE_EXCEEDED inside at a ``time.monotonic()``; None = never."""
    loop = asyncio.get_running_loop()
    at = None if deadline is None else loop.time() + deadline - monotonic()
    try:
        async with asyncio.timeout_at(at):
            yield
    except TimeoutError as error:
        raise deadline_exceeded() from error


def deadline_exceeded() -> ServiceError:
    """Make the error of a deadline that has passed."""
    return ServiceError("DEADLINE_EXCEEDED", "the deadline passed before the photograph was made")
