"""Callers stop waiting at a deadline, and are told so then, whatever is being done for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from time import monotonic

from service.errors import ServiceError


def until(deadline: float | None) -> AbstractAsyncContextManager[None]:
    """Raise ServiceError DEADLINE_EXCEEDED inside at a ``time.monotonic()``; None = never."""
    return nullcontext() if deadline is None else _until(deadline)


@asynccontextmanager
async def _until(deadline: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(deadline - monotonic()):
            yield
    except TimeoutError as error:
        raise deadline_exceeded() from error


def deadline_exceeded() -> ServiceError:
    """Make the error of a deadline that has passed."""
    return ServiceError("DEADLINE_EXCEEDED", "the deadline passed before the photograph was made")
