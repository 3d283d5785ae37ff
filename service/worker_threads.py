"""Threads for short work that must not keep the event loop waiting.

What ``concurrent.futures`` does with locks and two linked futures per call is a noticeable part of
a request here; a queue and one message back to the loop do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


class WorkerThreads:
    """A fixed number of threads that take work in the order in which it comes."""

    def __init__(self, count: int, name: str) -> None:
        self._work: SimpleQueue[_Work | None] = SimpleQueue()
        self._threads = [
            Thread(target=_take, args=(self._work,), name=f"{name}-{number}", daemon=True)
            for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        """Return what ``work`` returns, or raise what it raises.

        If the task is cancelled before a thread has taken the work, it is not done.
        """
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()
        self._work.put((loop, result, (work, arguments)))
        return await result

    def close(self) -> None:
        """Cancel what no thread has taken, and let the threads end. Called on the event loop."""
        with suppress(Empty):
            while True:
                taken = self._work.get_nowait()
                if taken is not None:
                    taken[1].cancel()
        for _ in self._threads:
            self._work.put(None)


_Call = tuple[Callable[..., Any], tuple[object, ...]]
_Work = tuple[asyncio.AbstractEventLoop, asyncio.Future[Any], _Call]


def _take(queue: SimpleQueue[_Work | None]) -> None:
    while (taken := queue.get()) is not None:
        loop, result, (work, arguments) = taken
        if not result.cancelled():
            value, error = None, None
            try:
                value = work(*arguments)
            except Exception as raised:  # noqa: BLE001, raised again where the result is awaited
                error = raised
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_settle, result, value, error)
            del value, error
        # Nothing of one request is kept until the next one comes.
        del taken, result, work, arguments


def _settle(result: asyncio.Future[Any], value: object, error: Exception | None) -> None:
    if result.done():  # cancelled meanwhile
        return
    if error is None:
        result.set_result(value)
    else:
        result.set_exception(error)
